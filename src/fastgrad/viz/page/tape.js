// A graph's computation, forward and backward, a step at a time: numbers and sentences, nothing on screen.
const number = (x) => (typeof x === "string" ? Number(x) : x);

// As Python writes f"{x:.4g}".
const short = (x) => {
  if (x !== x) return "nan";
  if (Math.abs(x) === Infinity) return x > 0 ? "inf" : "-inf";
  if (x === 0) return Object.is(x, -0) ? "-0" : "0";
  const [digits, power] = x.toExponential(3).split("e");
  const exponent = Number(power);
  if (exponent < -4 || exponent >= 4) {
    const padded = String(Math.abs(exponent)).padStart(2, "0");
    return `${Number(digits)}e${exponent < 0 ? "-" : "+"}${padded}`;
  }
  return String(Number(x.toPrecision(4)));
};

const exact = (x) => {
  if (x !== x || Math.abs(x) === Infinity) return short(x);
  return Object.is(x, -0) ? "-0.0" : String(x);
};

const makeTape = (description) => {
  const boxes = description.boxes.map((box) => ({
    ...box,
    data: number(box.data),
    grad: number(box.grad),
    given: box.given && box.given.map(number),
    // [index] is another box, a number a number.
    operands: box.operands.map((operand) => (Array.isArray(operand) ? operand[0] : { number: number(operand) })),
  }));
  const root = boxes.length - 1;
  const isBox = (operand) => typeof operand === "number";
  const isLeaf = (index) => boxes[index].operands.length === 0;
  const recorded = boxes.map((box) => box.data);
  const users = boxes.map(() => []);
  boxes.forEach((box, index) =>
    box.operands.forEach((operand, place) => isBox(operand) && users[operand].push([index, place]))
  );
  const computed = boxes.map((_, index) => index).filter((index) => boxes[index].operands.length > 0);

  const name = (index) => boxes[index].title;
  const called = (index) => (/^[\w.…]+$/.test(name(index)) ? name(index) : `(${name(index)})`);
  const inputs = (box, data) =>
    box.operands.map((operand) => (isBox(operand) ? data[operand] : operand.number));

  const shiftOf = (numbers) => {
    const largest = numbers.reduce((a, b) => (b > a || a !== a ? b : a));
    return Number.isFinite(largest) ? largest : 0;
  };

  // The data of a box from that of its operands; what no row computes stays as Python had it.
  const value = (box, data) => {
    const numbers = inputs(box, data);
    if (box.row in ROWS) return ROWS[box.row].value(...numbers);
    if (!(box.row in REDUCTIONS)) return box.data;
    const { step, finish } = REDUCTIONS[box.row];
    const shift = shiftOf(numbers);
    return finish(numbers.reduce((total, a) => step(total, a, shift), 0), numbers.length, shift);
  };

  // The derivative by the operand at a place, and how it is written; null if Python alone knows it.
  const derivative = (box, place, data, out) => {
    if (box.given) return box.given[place];
    if (box.kind === "own") return null;
    const numbers = inputs(box, data);
    if (box.row in ROWS) return ROWS[box.row].derivatives[place](...numbers, out);
    return REDUCTIONS[box.row].derivative(numbers[place], numbers.length, out);
  };

  const formula = (index, place, data) => {
    const box = boxes[index];
    if (box.given || box.kind === "own") return "";
    const numbers = inputs(box, data);
    const isRow = box.row in ROWS;
    const text = isRow
      ? ROWS[box.row].words[place](...numbers, data[index])
      : REDUCTIONS[box.row].words(numbers[place], numbers.length, data[index]);
    if (!text || /^-?[\d.e-]+$/.test(text)) return "";
    const written = (at) => {
      const operand = box.operands[at];
      return isBox(operand) ? `${called(operand)}.data` : short(operand.number);
    };
    return text.replace(/\b(out|a|b|c|n)\b/g, (token) => {
      if (token === "out") return `${called(index)}.data`;
      if (token === "n") return isRow ? token : String(numbers.length);
      return written(isRow ? "abc".indexOf(token) : place);
    });
  };

  const forward = (leaves) => {
    const data = leaves.slice();
    for (const index of computed) data[index] = value(boxes[index], data);
    return data;
  };

  const selects = (box) => box.row in ROWS && ROWS[box.row].selects;

  // The gradients that backward() gives from zero.
  const backward = (data) => {
    const grads = boxes.map(() => 0);
    const reached = boxes.map(() => false);
    grads[root] = 1;
    reached[root] = true;
    for (let index = root; index >= 0; index--) {
      const box = boxes[index];
      if (!reached[index]) continue;
      box.operands.forEach((operand, place) => {
        if (!isBox(operand)) return;
        const local = derivative(box, place, data, data[index]);
        if (local === null || (selects(box) && local === 0)) return;
        reached[operand] = true;
        if (box.overwrites && local !== 0) grads[operand] = local * grads[index];
        else grads[operand] += local * grads[index];
      });
    }
    return grads;
  };

  // An order in which a node may pass its gradient on before all of it has arrived: each when it is first met
  // or, where that makes no difference, that of the forward pass.
  const wrongOrder = () => {
    const met = [];
    const visit = (index) => {
      if (met.includes(index)) return;
      met.push(index);
      boxes[index].operands.filter(isBox).forEach(visit);
    };
    visit(root);
    const early = users.some((of, index) =>
      !isLeaf(index) && of.some(([user]) => met.indexOf(user) > met.indexOf(index))
    );
    return early
      ? { order: met, why: "each node when it is first met from the root, before all that use it have had their turn" }
      : { order: boxes.map((_, index) => index), why: "from the first node to the last, as in the forward pass" };
  };

  // Every step, forward and backward: what it changes, and how it is said.
  const steps = (leaves, { overwrite = false, forget = false, wrong = false } = {}) => {
    const data = forward(leaves);
    const list = computed.map((index) => ({ kind: "forward", node: index, sentence: forwardSentence(index, data) }));
    const grads = boxes.map(() => 0);
    const left = forget ? backward(data) : null;
    if (left) boxes.forEach((_, index) => isLeaf(index) && (grads[index] = left[index]));
    const start = grads.slice();
    list.push({
      kind: "seed", node: root, before: grads[root], after: 1,
      sentence: `${called(root)}.grad = 1: how ${name(root)} changes with itself.` +
        (left ? " zero_grad() was forgotten: the leaves still have the gradients of the last pass." : "") +
        (wrong ? ` The order is wrong: ${wrongOrder().why}.` : ""),
    });
    grads[root] = 1;
    const reached = boxes.map(() => false);
    reached[root] = true;
    const order = wrong ? wrongOrder().order : boxes.map((_, index) => root - index);
    const arrived = boxes.map(() => 0);
    const passed = new Set();
    for (const index of order) {
      const box = boxes[index];
      if (!wrong && !reached[index]) continue;
      box.operands.forEach((operand, place) => {
        if (!isBox(operand)) return;
        const local = derivative(box, place, data, data[index]);
        const step = { kind: "arrow", node: index, place, operand, local, arriving: grads[index], before: grads[operand] };
        const chosen = !(selects(box) && local === 0);
        const replaces = overwrite || (box.overwrites && local !== 0);
        step.amount = local === null || !chosen ? 0 : local * grads[index];
        step.after = local === null || !chosen ? step.before : replaces ? step.amount : step.before + step.amount;
        step.sentence = arrowSentence(step, data, {
          chosen, replaces, path: arrived[operand], late: passed.has(operand) && boxes[operand].operands.length > 0,
        });
        grads[operand] = step.after;
        if (chosen) {
          reached[operand] = true;
          arrived[operand]++;
        }
        list.push(step);
      });
      passed.add(index);
    }
    return { data, start, list, forwards: computed.length };
  };

  const forwardSentence = (index, data) => {
    const box = boxes[index];
    const written = box.operands.map((operand) => short(isBox(operand) ? data[operand] : operand.number));
    const names = box.operands.map((operand) => (isBox(operand) ? called(operand) : short(operand.number)));
    if (!box.row) {
      return `${name(index)} = ${box.symbol}(${names.join(", ")}) = ${short(data[index])}: ` +
        "made by code of your own, which the page cannot run; it keeps this number.";
    }
    const infix = (texts) => {
      if (/^[-+*/%]$/.test(box.symbol)) return texts.join(` ${box.symbol} `);
      if (box.row === "pow") return texts.join("**");
      return `${box.symbol}(${texts.join(", ")})`;
    };
    const numbers = infix(written.map((text) => (text.startsWith("-") && box.row === "pow" ? `(${text})` : text)));
    const whole = infix(names);
    return `${name(index) === whole || `(${name(index)})` === whole ? "" : `${name(index)} = `}` +
      `${whole} = ${numbers} = ${short(data[index])}`;
  };

  const arrowSentence = (step, data, { chosen, replaces, path, late }) => {
    const box = boxes[step.node];
    const out = called(step.node), into = called(step.operand);
    if (step.local === null) {
      return `${out} has a _backward of your own, which the page cannot run: what it gives to ${into} is not known here. ` +
        "viz.explore(root) runs it once and shows it.";
    }
    if (box.kind === "own" && box.operands.indexOf(step.operand) < step.place) {
      return `${out} has given ${into} everything at the first arrow: its _backward is your own, and one step here.`;
    }
    if (!chosen) return `${out} did not choose ${into}: nothing is added to ${into}.grad.`;
    const written = formula(step.node, step.place, data);
    const rate = `d${out}/d${into} = ${written ? `${written} = ` : ""}${short(step.local)}`;
    const product = `${short(step.local)} * ${out}.grad = ${short(step.local)} * ${short(step.arriving)} = ${short(step.amount)}`;
    const change = `${short(step.before)} → ${short(step.after)}`;
    const notes = [];
    if (box.kind === "own") notes.push("your own _backward");
    if (replaces && step.before !== 0) notes.push(`overwritten: ${short(step.before)} is lost`);
    else if (path > 0) notes.push(`${["", "second", "third"][path] || `${path + 1}th`} path: added`);
    if (late && step.amount !== 0) notes.push(`too late: ${name(step.operand)} has passed its gradient on already`);
    return `${rate}; ${into}.grad ${replaces ? "=" : "+="} ${product}; ${change}${notes.length ? ` (${notes.join("; ")})` : ""}`;
  };

  // What is known after so many steps: data and gradients, null where a box has none yet.
  const stateAt = (story, position) => {
    const known = boxes.map((_, index) => isLeaf(index));
    const grads = story.start.slice();
    for (const step of story.list.slice(0, position)) {
      if (step.kind === "forward") known[step.node] = true;
      else grads[step.kind === "seed" ? step.node : step.operand] = step.after;
    }
    return { data: story.data.map((x, index) => (known[index] ? x : null)), grads };
  };

  // (f(x + h) - f(x)) / h for one leaf.
  const nudged = (leaves, index, h) => {
    const moved = leaves.slice();
    moved[index] += h;
    return (forward(moved)[root] - forward(leaves)[root]) / h;
  };

  // Whether a box's data cannot follow a change of this leaf.
  const frozenBelow = (leaf) => {
    const below = new Set([leaf]);
    boxes.forEach((box, index) => box.operands.some((operand) => below.has(operand)) && below.add(index));
    return [...below].filter((index) => boxes[index].operands.length && !boxes[index].row);
  };

  return {
    boxes, root, users, computed, isBox, isLeaf, recorded, name, called, derivative, formula, forward, backward, steps,
    stateAt, nudged, frozenBelow,
  };
};
