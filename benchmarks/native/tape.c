/* The reverse mode that a C++ tape of CoDiPack's kind does, written out by hand: recording appends to
   one array of statements and to one array of (partial derivative, operand), reverse reads both backwards. */

#include <stdint.h>
#include <stdlib.h>

typedef struct {
    double partial;
    uint32_t operand;
} Argument;

typedef struct {
    uint8_t *arguments_of; /* by statement: how many arguments it has */
    Argument *arguments;
    size_t statements, arguments_used, statement_room, argument_room;
    uint32_t leaves, result;
} Tape;

typedef struct {
    double value;
    uint32_t index;
} Active;

static Active record(Tape *tape, double value, Active a, double da, Active b, double db) {
    Active result;
    if (tape->statements == tape->statement_room) {
        tape->statement_room = 2 * tape->statement_room + 4096;
        tape->arguments_of = realloc(tape->arguments_of, tape->statement_room);
    }
    if (tape->arguments_used + 2 > tape->argument_room) {
        tape->argument_room = 2 * tape->argument_room + 8192;
        tape->arguments = realloc(tape->arguments, tape->argument_room * sizeof(Argument));
    }
    tape->arguments[tape->arguments_used].partial = da;
    tape->arguments[tape->arguments_used++].operand = a.index;
    tape->arguments[tape->arguments_used].partial = db;
    tape->arguments[tape->arguments_used++].operand = b.index;
    result.index = tape->leaves + (uint32_t)tape->statements;
    tape->arguments_of[tape->statements++] = 2;
    result.value = value;
    return result;
}

static Active add(Tape *tape, Active a, Active b) {
    return record(tape, a.value + b.value, a, 1.0, b, 1.0);
}

static Active multiply(Tape *tape, Active a, Active b) {
    return record(tape, a.value * b.value, a, b.value, b, a.value);
}

static Tape *new_tape(size_t leaves) {
    Tape *tape = calloc(1, sizeof(Tape));
    tape->leaves = (uint32_t)leaves;
    return tape;
}

/* leaves: y, w, b */
Tape *record_chain(const double *leaves, size_t steps, double *value) {
    Tape *tape = new_tape(3);
    Active y = {leaves[0], 0}, w = {leaves[1], 1}, b = {leaves[2], 2};
    for (size_t step = 0; step < steps; step++) {
        y = multiply(tape, y, w);
        y = add(tape, y, b);
    }
    tape->result = y.index;
    *value = y.value;
    return tape;
}

/* leaves: x1 .. x<width>, w1 .. w<width> */
Tape *record_layers(const double *leaves, size_t width, size_t layers, double *value) {
    Tape *tape = new_tape(2 * width);
    Active *x = malloc(3 * width * sizeof(Active));
    Active *w = x + width, *sums = w + width, total;
    for (size_t i = 0; i < width; i++) {
        x[i] = (Active){leaves[i], (uint32_t)i};
        w[i] = (Active){leaves[width + i], (uint32_t)(width + i)};
    }
    for (size_t layer = 0; layer < layers; layer++) {
        for (size_t i = 0; i < width; i++) sums[i] = add(tape, x[i], x[(i + 1) % width]);
        for (size_t i = 0; i < width; i++) x[i] = multiply(tape, sums[i], w[i]);
    }
    total = x[0];
    for (size_t i = 1; i < width; i++) total = add(tape, total, x[i]);
    tape->result = total.index;
    *value = total.value;
    free(x);
    return tape;
}

/* Writes the adjoints of the leaves. */
void reverse(Tape *tape, double *gradients) {
    double *adjoints = calloc(tape->leaves + tape->statements, sizeof(double));
    const Argument *argument = tape->arguments + tape->arguments_used;
    adjoints[tape->result] = 1.0;
    for (size_t statement = tape->statements; statement-- > 0;) {
        double adjoint = adjoints[tape->leaves + statement];
        for (unsigned count = tape->arguments_of[statement]; count > 0; count--) {
            argument--;
            adjoints[argument->operand] += argument->partial * adjoint;
        }
    }
    for (uint32_t leaf = 0; leaf < tape->leaves; leaf++) gradients[leaf] = adjoints[leaf];
    free(adjoints);
}

void free_tape(Tape *tape) {
    free(tape->arguments_of);
    free(tape->arguments);
    free(tape);
}
