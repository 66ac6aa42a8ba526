from typing_extensions import disjoint_base

__all__: list[str] = []

# A derivative of the table, as records.
@disjoint_base
class Rule: ...

# The records of a graph that grows.
@disjoint_base
class Builder: ...

# What forward mode and reverse mode know of each record.
@disjoint_base
class Tangents: ...

@disjoint_base
class Adjoints: ...
