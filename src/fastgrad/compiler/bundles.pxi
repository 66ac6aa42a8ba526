# Bundles: of one row, like steps side by side are computed as lanes.
#
# A list comprehension leaves the same steps again and again: w * a + b, tanh, w * a + b, tanh, .. If no
# repetition reads what another has made, the first steps of all repetitions can run together, then the second
# ones. Their results are the members of a bundle. The bundle has an id of its own and registers side by side,
# so that the kernels for lanes compute all members in one instruction. Such an instruction names an operand,
# and what it makes, by the first member.
#
# Members of one bundle in their order are an operand as they are. Other numbers become members of a bundle
# of their own if they are in none, or are copied into one, by a `gather`. Uniform numbers are packed side by
# side, as the weights of a matrix are. A step for which that costs more than it saves stays one for each
# repetition.

# So many repetitions make a bundle.
cdef Py_ssize_t fewest_members = 4


def _bundle_from(Py_ssize_t members):
    """Have so many repetitions make a bundle, and return how many it were before; for tests."""
    global fewest_members
    before, fewest_members = fewest_members, members
    return before


cdef enum:
    # The steps of one repetition.
    MOST_REPEATED = 24
    # Kernels go over whole vectors, of up to so many members; beyond a bundle's last member is room for them.
    VECTOR = 8


# What the instruction of a bundle costs, in operations of one row by themselves, each some 2 ns.
cdef double INSTRUCTION_COST = 3.0


cdef class Bundling:
    """The working state of the pass."""

    cdef Lowering lowering
    # The steps before the pass, and of each id the step that makes it, or -1.
    cdef Integers steps
    cdef Py_ssize_t count
    cdef Integers maker
    # The bundles that are copies of operands, by these.
    cdef dict gathered

    def __cinit__(self, Lowering lowering not None):
        self.lowering = lowering
        self.gathered = {}

    def __dealloc__(self):
        PyMem_RawFree(self.steps.items)
        PyMem_RawFree(self.maker.items)

    cdef Step *step(self, Py_ssize_t at) noexcept:
        return <Step *>self.steps.items + at

    cdef int take_steps(self) except -1:
        """Take the steps from the lowering, loads first and outputs last, and find what makes each id.

        What a loop makes is loaded after it, so where there is a loop, loads stay in their places.
        """
        cdef Lowering lowering = self.lowering
        cdef Integers before = lowering.steps
        cdef Step *steps = <Step *>before.items
        cdef Py_ssize_t count = before.size * <Py_ssize_t>sizeof(int32_t) // <Py_ssize_t>sizeof(Step), at
        cdef const Roles *roles
        cdef int part, own
        cdef bint loads_first = not lowering.loops
        memset(&lowering.steps, 0, sizeof(Integers))
        lowering.members.size = lowering.stepwise.size = 0
        try:
            for part in range(3):
                for at in range(count):
                    roles = roles_of(steps[at].opcode)
                    own = 2 if not roles.out and roles.fields[0] == ROLE_OPERAND else 1
                    if roles.fields[0] == ROLE_ARGUMENT and loads_first:
                        own = 0
                    if own == part:
                        self.add(&self.steps, &steps[at])
        finally:
            PyMem_RawFree(before.items)
        self.count = count
        for at in range(lowering.varying.size):
            append(&self.maker, -1)
        for at in range(count):
            roles = roles_of(self.step(at).opcode)
            if roles.out:
                self.maker.items[self.step(at).out] = <int32_t>at
            elif roles.fields[0] == ROLE_MATRIX:
                for result in (<WideStep>lowering.wides[self.step(at).fields[0]]).results:
                    self.maker.items[<int32_t>result] = <int32_t>at
            elif roles.fields[1] == ROLE_LOOP:
                for result, _ in (<LoopStep>lowering.loops[self.step(at).out]).results:
                    self.maker.items[<int32_t>result] = <int32_t>at
        return 0

    cdef int add(self, Integers *steps, const Step *step) except -1:
        append(steps, step.opcode)
        append(steps, step.out)
        for field in range(3):
            append(steps, step.fields[<int>field])
        return 0

    cdef int keep(self, Py_ssize_t at) except -1:
        """Leave a step as it is."""
        return self.again(self.step(at), 0)

    cdef int again(self, const Step *step, int32_t members) except -1:
        """Add a step that has been looked at."""
        cdef Lowering lowering = self.lowering
        lowering.step(
            &lowering.steps, step.opcode, step.out, step.fields[0], step.fields[1], step.fields[2]
        )
        lowering.members.items[lowering.members.size - 1] = members
        return 0

    # -- finding repetitions

    cdef Py_ssize_t repetitions(self, Py_ssize_t first, Py_ssize_t period) except -1:
        """How many times the steps from `first` on are repeated, themselves included."""
        cdef Py_ssize_t times = 1, at
        while first + (times + 1) * period <= self.count:
            for at in range(first, first + period):
                if not self.repeats(first, period, times, at):
                    return times
            times += 1
        return times

    cdef bint repeats(self, Py_ssize_t first, Py_ssize_t period, Py_ssize_t times, Py_ssize_t at) except -1:
        """Whether a step of the first repetition comes again in the one after `times`, on other operands."""
        cdef Lowering lowering = self.lowering
        cdef const Step *one = self.step(at)
        cdef const Step *another = self.step(at + times * period)
        cdef const Roles *roles = roles_of(one.opcode)
        cdef WideStep wide, other
        cdef int32_t operand
        cdef int field
        if one.opcode != another.opcode or not roles.out or roles.fields[1] == ROLE_LOOP:
            return False
        if lowering.active.items[one.out] != lowering.active.items[another.out]:
            return False
        for field in range(3):
            if roles.fields[field] == ROLE_OPERAND or roles.fields[field] == ROLE_RESULT:
                if not self.follows(first, period, times, at, field):
                    return False
            elif roles.fields[field] >= ROLE_EACH:
                wide, other = lowering.wides[one.fields[field]], lowering.wides[another.fields[field]]
                if wide.size != other.size:
                    return False
                for operand in self.listed(other):
                    if not self.is_apart(first, period, times, operand):
                        return False
        return True

    cdef list listed(self, WideStep wide):
        cdef Py_ssize_t at
        return [
            self.lowering.ids.items[wide.start + at] for at in range(wide.size * (2 if wide.pairs else 1))
        ]

    cdef bint is_apart(
        self, Py_ssize_t first, Py_ssize_t period, Py_ssize_t times, int32_t operand
    ) noexcept:
        """Whether an operand of the repetition after `times` is not made by one before it."""
        cdef Py_ssize_t maker = self.maker.items[operand]
        return maker < first or maker >= first + times * period

    cdef bint follows(
        self, Py_ssize_t first, Py_ssize_t period, Py_ssize_t times, Py_ssize_t at, int field
    ) noexcept:
        """Whether an operand comes after those of the repetitions before, as a member of a bundle would.

        Numbers that are in no bundle yet do if their ids rise evenly, from the second repetition on.
        """
        cdef Lowering lowering = self.lowering
        cdef int32_t one = self.step(at).fields[field]
        cdef int32_t second = self.step(at + period).fields[field]
        cdef int32_t last = self.step(at + (times - 1) * period).fields[field]
        cdef int32_t following = self.step(at + times * period).fields[field]
        cdef Py_ssize_t maker = self.maker.items[one]
        if not lowering.varying.items[one]:
            return not lowering.varying.items[following]
        if lowering.active.items[one] != lowering.active.items[following]:
            return False
        if maker >= first:
            return self.maker.items[following] == maker + times * period
        if not lowering.varying.items[following] or self.maker.items[following] >= first:
            return False
        if lowering.bundle.items[last] != lowering.bundle.items[following]:
            return False
        if following == last:
            return one == second
        if lowering.bundle.items[last] >= 0:
            return lowering.number.items[following] == lowering.number.items[last] + 1
        return times == 1 or following - last == self.step(at + 2 * period).fields[field] - second

    # -- what a step becomes

    cdef bint bundle(self, Py_ssize_t at, Py_ssize_t period, Py_ssize_t times) except -1:
        """Make one step of a step and its repetitions, if that is quicker; return whether it was done."""
        cdef Lowering lowering = self.lowering
        cdef const Step *one = self.step(at)
        cdef const Roles *roles = roles_of(one.opcode)
        cdef int row = one.opcode >> 2
        cdef int32_t opcode = one.opcode
        cdef list operands, fields
        cdef double cost = INSTRUCTION_COST
        cdef WideStep wide
        cdef Py_ssize_t each
        if roles.fields[0] == ROLE_PAIRS:
            operands = self.operands_of_pairs(at, period, times)
        elif roles.fields[0] == ROLE_OPERAND and one.opcode != OPCODE_BROADCAST:
            operands = [
                [self.step(at + each * period).fields[<int>field] for each in range(times)]
                for field in range(3) if roles.fields[<int>field] == ROLE_OPERAND
            ]
        else:
            return False
        varied = [self.is_varied(operand) for operand in operands]
        if opcode == OPCODE_POWER and varied[1]:
            return False
        for operand in operands:
            cost += self.cost_of(operand)
        if cost > (len(operands) // 2 if roles.fields[0] == ROLE_PAIRS else roles.flops) * <double>times:
            return False
        if opcode == OPCODE_MULTIPLY_ADD and (varied[1] or varied[2]):
            if not (self.are_alike(operands[1]) and self.are_alike(operands[2])):
                return False
            opcode = OPCODE_AFFINE
            fields = [self.as_bundle(operands[0]), self.packed(operands[1]), self.packed(operands[2])]
        else:
            fields = [self.as_bundle(operand) for operand in operands]
        if roles.fields[0] == ROLE_PAIRS:
            fields = [new_wide(lowering, fields[1::2], fields[2::2]), 0, fields[0]]
        elif row < ROW_END and roles.fields[1] == ROLE_OPERAND:
            # A uniform number that was different in each repetition is a bundle now.
            opcode = row << 2 | kind_of(lowering, fields[0], fields[1])
        fields += [0] * (3 - len(fields))
        self.new_bundle([self.step(at + each * period).out for each in range(times)])
        lowering.step(&lowering.steps, opcode, one.out, fields[0], fields[1], fields[2])
        lowering.members.items[lowering.members.size - 1] = <int32_t>times
        return True

    cdef list operands_of_pairs(self, Py_ssize_t at, Py_ssize_t period, Py_ssize_t times):
        """The operands of sums of products: the first term, then left and right of each pair."""
        cdef list lists = [
            self.listed(self.lowering.wides[self.step(at + each * period).fields[0]]) for each in range(times)
        ]
        cdef Py_ssize_t size = len(lists[0]) // 2, pair, each
        cdef list operands = [[self.step(at + each * period).fields[2] for each in range(times)]]
        for pair in range(size):
            operands.append([listed[pair] for listed in lists])
            operands.append([listed[size + pair] for listed in lists])
        return operands

    cdef bint is_varied(self, list operand) except -1:
        """Whether uniform numbers differ from repetition to repetition."""
        return not self.lowering.varying.items[<int32_t>operand[0]] and len(set(operand)) > 1

    cdef bint is_run(self, list operand) except -1:
        """Whether operands are members of one bundle in their order, and nothing else is in their vectors."""
        cdef Lowering lowering = self.lowering
        cdef int32_t first = operand[0], bundle = lowering.bundle.items[first], member
        cdef int32_t number = lowering.number.items[first], end = number + <int32_t>len(operand)
        if bundle < 0 or number % VECTOR or (end % VECTOR and end < lowering.size.items[bundle]):
            return False
        for at, member in enumerate(operand):
            if lowering.bundle.items[member] != bundle or lowering.number.items[member] != number + at:
                return False
        return True

    cdef bint is_free(self, list operand) except -1:
        """Whether operands can become the members of a new bundle."""
        cdef Lowering lowering = self.lowering
        cdef int32_t member
        for member in operand:
            if not lowering.varying.items[member] or lowering.bundle.items[member] >= 0:
                return False
            if lowering.active.items[member] != lowering.active.items[<int32_t>operand[0]]:
                return False
        return len(set(operand)) == len(operand)

    cdef double cost_of(self, list operand) except -1.0:
        """What it costs to have an operand as a bundle: nothing, or a copy of each member.

        A copy, there and back, takes about as long as an operation by itself.
        """
        cdef double count = len(operand)
        if not self.lowering.varying.items[<int32_t>operand[0]]:
            # Uniform numbers are packed side by side once a call, and copied as vectors.
            return INSTRUCTION_COST if self.is_varied(operand) else 0.0
        if self.is_run(operand) or self.is_free(operand) or tuple(operand) in self.gathered:
            return 0.0
        return INSTRUCTION_COST + (0.5 if len(set(operand)) == 1 else 1.0) * count

    cdef int32_t as_bundle(self, list operand) except -1:
        """The id by which a step names an operand: a uniform number, or the first member of a bundle."""
        if not self.lowering.varying.items[<int32_t>operand[0]] and not self.is_varied(operand):
            return operand[0]
        if self.is_run(operand):
            return operand[0]
        if self.is_free(operand):
            self.new_bundle(operand)
            return operand[0]
        return self.copied(operand)

    cdef int32_t copied(self, list operand) except -1:
        """The id of a bundle into which operands are copied."""
        cdef Lowering lowering = self.lowering
        cdef tuple key = tuple(operand)
        cdef int32_t bundle, member, number
        cdef bint active = False
        if key not in self.gathered:
            for member in operand:
                active = active or lowering.active.items[member]
            if self.are_alike(operand):
                number = self.packed(operand)
            else:
                number = new_wide(lowering, operand)
            bundle = self.new_id(True, active)
            lowering.size.items[bundle] = <int32_t>len(operand)
            lowering.step(&lowering.steps, OPCODE_GATHER, bundle, number)
            self.gathered[key] = bundle
        return self.gathered[key]

    cdef bint are_alike(self, list operand) except -1:
        """Whether operands are uniform numbers, all of which want a gradient or none."""
        cdef Lowering lowering = self.lowering
        cdef int32_t member
        for member in operand:
            if lowering.varying.items[member]:
                return False
            if lowering.active.items[member] != lowering.active.items[<int32_t>operand[0]]:
                return False
        return True

    cdef int32_t packed(self, list operand) except -1:
        """The list of such numbers, packed in whole vectors: a constant fills the last one."""
        cdef Lowering lowering = self.lowering
        cdef int32_t filler = lowering.constant(0.0), number
        cdef WideStep wide
        while self.maker.size < lowering.varying.size:
            append(&self.maker, -1)
        number = new_wide(lowering, operand + [filler] * ((VECTOR - 1) - (len(operand) - 1) % VECTOR))
        wide = lowering.wides[number]
        wide.uniform = True
        return number

    cdef int32_t new_bundle(self, list members) except -1:
        """The id of a bundle of these members."""
        cdef Lowering lowering = self.lowering
        cdef int32_t bundle = self.new_id(True, lowering.active.items[<int32_t>members[0]]), member
        lowering.size.items[bundle] = <int32_t>len(members)
        for at, member in enumerate(members):
            lowering.bundle.items[member], lowering.number.items[member] = bundle, at
        return bundle

    cdef int32_t new_id(self, bint varying, bint active) except -1:
        append(&self.maker, -1)
        return self.lowering.new_id(varying, active)


cdef int join_moves(Bundling self) except -1:
    """Load what is a bundle as one, and so store it, where arguments, columns or outputs lie side by side."""
    cdef Lowering lowering = self.lowering
    cdef Integers before = lowering.steps, members = lowering.members
    cdef Step *steps = <Step *>before.items
    cdef Py_ssize_t count = before.size * <Py_ssize_t>sizeof(int32_t) // <Py_ssize_t>sizeof(Step)
    cdef Py_ssize_t begin = 0, end = count, at
    memset(&lowering.steps, 0, sizeof(Integers))
    memset(&lowering.members, 0, sizeof(Integers))
    lowering.stepwise.size = 0
    try:
        while begin < count and roles_of(steps[begin].opcode).fields[0] == ROLE_ARGUMENT:
            begin += 1
        while end > begin and roles_of(steps[end - 1].opcode).fields[1] == ROLE_NEXT:
            end -= 1
        join(self, steps, sorted([(member_key(lowering, steps[at].out), at) for at in range(begin)]))
        for at in range(begin, end):
            self.again(&steps[at], members.items[at])
        join(self, steps, sorted([((0, 0, steps[at].fields[1]), at) for at in range(end, count)]))
    finally:
        PyMem_RawFree(before.items)
        PyMem_RawFree(members.items)
    return 0


cdef tuple member_key(Lowering self, int32_t operand):
    """For sorting: members of one bundle in their order, then numbers that are in none."""
    return self.bundle.items[operand] < 0, self.bundle.items[operand], self.number.items[operand]


cdef int join(Bundling self, Step *steps, list places) except -1:
    """Add these loads or stores, several as one where that is possible."""
    cdef Py_ssize_t first = 0, end, at
    cdef int32_t step
    cdef list order = [place for _, place in places]
    while first < len(order):
        end, step = first + 1, -1
        while end < len(order):
            at = order[end]
            if not joins(self.lowering, &steps[<Py_ssize_t>order[end - 1]], &steps[at], &step):
                break
            end += 1
        at = order[first]
        if end - first >= fewest_members:
            if roles_of(steps[at].opcode).fields[0] == ROLE_ARGUMENT:
                steps[at].fields[2] = step
            self.again(&steps[at], <int32_t>(end - first))
        else:
            end = first + 1
            self.again(&steps[at], 0)
        first = end
    return 0


cdef bint is_state(Lowering self, int32_t argument) except -1:
    """Whether an argument stands for a number of the state, in the step of a loop."""
    return self.scope is not None and argument - self.scope.base < states_of(self)


cdef bint joins(Lowering self, const Step *last, const Step *following, int32_t *step) except -1:
    """Whether two moves are part of one; step: 1 if columns lie side by side, 0 for arguments, -1 unknown."""
    cdef bint loads = roles_of(last.opcode).fields[0] == ROLE_ARGUMENT
    cdef int32_t one = last.out if loads else last.fields[0]
    cdef int32_t other = following.out if loads else following.fields[0]
    cdef int32_t found
    if not self.varying.items[one] or not self.varying.items[other] or self.bundle.items[one] < 0:
        return False
    if self.bundle.items[one] != self.bundle.items[other]:
        return False
    if self.number.items[one] + 1 != self.number.items[other]:
        return False
    if not loads:
        return last.fields[1] + 1 == following.fields[1]
    found = following.fields[1] - last.fields[1]
    if found + following.fields[0] - last.fields[0] != 1 or (found != 0 and found != 1):
        return False
    if step[0] >= 0 and step[0] != found:
        return False
    if is_state(self, last.fields[0]) != is_state(self, following.fields[0]):
        # Their gradients are stored, those of others are added.
        return False
    step[0] = found
    return self.active.items[one] == self.active.items[other]


cdef int find_bundles(Lowering self) except -1:
    """Replace repetitions by steps of bundles where that is quicker."""
    cdef Bundling bundling = Bundling(self)
    cdef Py_ssize_t first = 0, period, times, at, each
    bundling.take_steps()
    while first < bundling.count:
        look_for_signals(first)
        for period in range(1, MOST_REPEATED + 1):
            times = bundling.repetitions(first, period)
            if times >= fewest_members:
                break
        else:
            period = times = 1
        for at in range(first, first + period):
            if times == 1 or not bundling.bundle(at, period, times):
                for each in range(times):
                    bundling.keep(at + each * period)
        first += period * times
    if not self.loops:
        join_moves(bundling)
    return 0
