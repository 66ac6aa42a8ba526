from typing_extensions import disjoint_base

from fastgrad.compiler.graph import Graph

__all__ = ["simplified"]

def simplified(graph: Graph) -> Graph: ...

# A derivative of the table, as records.
@disjoint_base
class Rule: ...

# A loop with its tangents, and the records of a graph that grows.
@disjoint_base
class JointLoop: ...

@disjoint_base
class Builder: ...

# The tangents (forward mode) and gradients (reverse mode) of each record.
@disjoint_base
class Tangents: ...

@disjoint_base
class Adjoints: ...
