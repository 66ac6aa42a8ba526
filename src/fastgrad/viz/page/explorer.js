// The page of viz.explore: the graph, its steps, and experiments with its numbers.
(() => {
  "use strict";
  const description = JSON.parse(document.getElementById("description").textContent);
  const tape = makeTape(description);
  const { boxes, root, isBox, isLeaf } = tape;
  const groups = description.groups;
  const byId = (id) => document.getElementById(id);
  const svgElement = (kind, attributes, parent, text) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", kind);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    if (parent) parent.appendChild(element);
    return element;
  };
  const htmlElement = (kind, text, parent) => {
    const element = document.createElement(kind);
    if (text !== undefined) element.textContent = text;
    if (parent) parent.appendChild(element);
    return element;
  };

  // -- what is known -------------------------------------------------------------------------------

  let leaves = tape.recorded.slice();
  let story = tape.steps(leaves);
  // As in Python until the first step: its numbers, which may be those of other passes.
  let live = false;
  let position = boxes.some((box) => box.grad !== 0) ? story.list.length : story.forwards;
  let selected = null;
  let h = 1e-3;
  let playing = null;
  const history = [];
  const switches = () => ({
    overwrite: byId("overwrite").checked, forget: byId("forget").checked, wrong: byId("wrong").checked,
  });
  const parameters = boxes.map((_, index) => index).filter((index) => boxes[index].kind === "parameter");
  const movable = parameters.length
    ? parameters
    : boxes.map((_, index) => index).filter((index) => isLeaf(index) && boxes[index].kind !== "constant");
  const state = () =>
    live ? tape.stateAt(story, position) : { data: tape.recorded, grads: boxes.map((box) => box.grad) };
  const close = (a, b) => a === b || Math.abs(a - b) <= 1e-9 * Math.max(Math.abs(a), Math.abs(b)) || (a !== a && b !== b);

  const asInPython = () => {
    const moved = story.data.some((x, index) => !close(x, tape.recorded[index]));
    const grads = tape.backward(story.data);
    const zero = boxes.every((box) => box.grad === 0);
    const other = boxes.some((box, index) => !close(box.grad, grads[index]));
    let text = `${boxes.length} nodes, as they are in Python. `;
    if (moved) text += "Some data is not what its operands give now: it was changed after the forward pass. ";
    if (zero) text += "backward() has not run: → plays it, ← goes back through the forward pass.";
    else if (other && !moved) text += "The gradients are not those of one backward() from here: → and ← show these.";
    else text += "← goes back through backward(), one arrow at a time.";
    return text;
  };

  // -- layout --------------------------------------------------------------------------------------

  const foldedGroups = new Set();
  const foldedNodes = new Set();
  const chain = (group) => (group < 0 ? [] : [...chain(groups[group].parent), group]);
  const groupOf = boxes.map((box) => chain(box.group));

  // What only a node uses, directly or not.
  const onlyUsedBy = (top) => {
    const inside = new Set([top]);
    for (let index = top - 1; index >= 0; index--) {
      const of = tape.users[index];
      if (of.length && of.every(([user]) => inside.has(user))) inside.add(index);
    }
    inside.delete(top);
    return inside;
  };

  // The item that shows each box: itself, a folded group or the node that it is folded into.
  const itemsOfBoxes = () => {
    const item = boxes.map((_, index) => `b${index}`);
    for (const top of foldedNodes) for (const index of onlyUsedBy(top)) item[index] = `b${top}`;
    boxes.forEach((_, index) => {
      const at = groupOf[index].find((group) => foldedGroups.has(group));
      if (at !== undefined) item[index] = `g${at}`;
    });
    // A fold within a fold.
    return item.map((id) => (id[0] === "b" ? item[Number(id.slice(1))] : id));
  };

  const measure = document.createElement("canvas").getContext("2d");
  measure.font = '11px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace';
  const letter = measure.measureText("0000000000").width / 10;
  const ROW = 15;

  const itemSize = (id, hidden) => {
    if (id[0] === "g") {
      const { name } = groups[Number(id.slice(1))];
      return { width: Math.max(18 * letter, (name.length + 4) * letter) + 16, height: 3 * ROW + 10 };
    }
    const box = boxes[Number(id.slice(1))];
    const title = box.title.length + (box.symbol ? box.symbol.length + 2 : 0) + (hidden ? 4 : 0);
    return { width: Math.max(15, title) * letter + 14, height: 3 * ROW + 9 };
  };

  const layout = (items, direction) => {
    const graph = new dagre.graphlib.Graph({ multigraph: true, compound: groups.length > 0 });
    const ids = [...new Set(items)];
    graph.setGraph({
      rankdir: direction, nodesep: direction === "LR" ? 12 : 18, ranksep: 26, edgesep: 8, marginx: 8, marginy: 8,
      ranker: ids.length > 120 ? "tight-tree" : "network-simplex",
    });
    graph.setDefaultEdgeLabel(() => ({}));
    for (const id of ids) graph.setNode(id, itemSize(id, foldedNodes.has(Number(id.slice(1))) && id[0] === "b"));
    const open = new Set();
    boxes.forEach((_, index) => {
      const id = items[index];
      const path = id[0] === "g" ? chain(groups[Number(id.slice(1))].parent) : id === `b${index}` ? groupOf[index] : [];
      path.forEach((group, depth) => {
        if (!open.has(group)) {
          open.add(group);
          graph.setNode(`c${group}`, {});
          if (depth) graph.setParent(`c${group}`, `c${path[depth - 1]}`);
        }
      });
      if (path.length) graph.setParent(id, `c${path[path.length - 1]}`);
    });
    const edges = [];
    const between = new Set();
    boxes.forEach((box, index) =>
      box.operands.forEach((operand, place) => {
        if (!isBox(operand) || items[operand] === items[index]) return;
        const plain = items[operand] === `b${operand}` && items[index] === `b${index}`;
        const key = plain ? `${operand}-${index}-${place}` : `${items[operand]}-${items[index]}`;
        const known = between.has(key);
        between.add(key);
        if (!known) {
          graph.setEdge(items[operand], items[index], {}, key);
          edges.push({ from: items[operand], to: items[index], key, arrows: [] });
        }
        edges.find((edge) => edge.key === key).arrows.push(`${index}-${place}`);
      })
    );
    dagre.layout(graph);
    return { graph, ids, edges, open: [...open], width: graph.graph().width, height: graph.graph().height };
  };

  // -- drawing -------------------------------------------------------------------------------------

  const view = byId("view"), stage = byId("stage"), graphElement = byId("graph");
  let shown = null;
  const drawn = { items: new Map(), edges: [] };
  // `byHand`: since the last fit, the view was moved by the user.
  const zoom = { x: 0, y: 0, scale: 1, byHand: false };

  const place = () => view.setAttribute("transform", `translate(${zoom.x} ${zoom.y}) scale(${zoom.scale})`);
  const scaleOf = (drawing) =>
    Math.min(stage.clientWidth / drawing.width, stage.clientHeight / drawing.height, 1.5);
  // Below this scale, boxes cannot be read.
  const READABLE = 0.35;
  const fit = () => {
    zoom.byHand = false;
    const { clientWidth, clientHeight } = stage;
    const whole = scaleOf(shown);
    const end = shown.graph.node(itemsOfBoxes()[root]);
    if (whole >= READABLE) {
      zoom.scale = whole;
      zoom.x = (clientWidth - shown.width * whole) / 2;
      zoom.y = (clientHeight - shown.height * whole) / 2;
    } else {
      // The result, at the end of what leads to it: right, or below.
      zoom.scale = 0.7;
      const down = shown.graph.graph().rankdir === "TB";
      zoom.x = down ? clientWidth / 2 - end.x * 0.7 : clientWidth - (end.x + end.width / 2 + 12) * 0.7;
      zoom.y = down ? clientHeight - (end.y + end.height / 2 + 12) * 0.7 : clientHeight / 2 - end.y * 0.7;
    }
    place();
  };

  const curve = (points) => {
    const [first, ...rest] = points;
    let path = `M${first.x} ${first.y}`;
    for (let k = 0; k < rest.length - 1; k++) {
      const end = k < rest.length - 2 ? { x: (rest[k].x + rest[k + 1].x) / 2, y: (rest[k].y + rest[k + 1].y) / 2 } : rest[k + 1];
      path += `Q${rest[k].x} ${rest[k].y} ${end.x} ${end.y}`;
    }
    return rest.length === 1 ? `${path}L${rest[0].x} ${rest[0].y}` : path;
  };

  const draw = (keepView = false) => {
    const items = itemsOfBoxes();
    const across = layout(items, "LR");
    shown = across;
    if (scaleOf(across) < 0.62 && across.ids.length <= 120) {
      const down = layout(items, "TB");
      if (scaleOf(down) > scaleOf(across) * 1.15) shown = down;
    }
    view.replaceChildren();
    drawn.items.clear();
    drawn.edges = [];
    for (const group of shown.open) {
      const { x, y, width, height } = shown.graph.node(`c${group}`);
      const cluster = svgElement("g", { class: "cluster", "data-group": group }, view);
      svgElement("rect", { x: x - width / 2, y: y - height / 2, width, height }, cluster);
      const title = svgElement(
        "text", { x: x - width / 2 + 6, y: y - height / 2 - 3, tabindex: 0, role: "button" }, cluster, `⊟ ${groups[group].name}`
      );
      title.setAttribute("aria-label", `fold ${groups[group].name}`);
    }
    for (const edge of shown.edges) {
      const { points } = shown.graph.edge(edge.from, edge.to, edge.key);
      const path = svgElement("path", { class: "edge", d: curve(points) }, view);
      drawn.edges.push({ ...edge, path });
    }
    for (const id of shown.ids) drawItem(id, shown.graph.node(id), items);
    if (!keepView) fit();
    refresh();
  };

  const drawItem = (id, { x, y, width, height }, items) => {
    const index = Number(id.slice(1));
    const isGroup = id[0] === "g";
    const kind = isGroup ? "folded" : foldedNodes.has(index) ? `${boxes[index].kind} folded` : boxes[index].kind;
    const left = x - width / 2, top = y - height / 2;
    const element = svgElement("g", { class: `box ${kind}`, "data-id": id, tabindex: 0, role: "button" }, view);
    svgElement("rect", { class: "body", x: left, y: top, width, height, rx: 3 }, element);
    const line = (row) => top + 13 + row * ROW;
    const title = svgElement("text", { x: left + 7, y: line(0) }, element);
    if (isGroup) {
      svgElement("tspan", { class: "title" }, title, `⊞ ${groups[index].name}`);
    } else {
      const { symbol } = boxes[index];
      const hidden = items.filter((item) => item === id).length - 1;
      svgElement("tspan", { class: "title" }, title, boxes[index].title);
      if (symbol) svgElement("tspan", { class: "symbol", "text-anchor": "end", x: left + width - 6 }, title, symbol);
      if (hidden) title.firstChild.textContent += ` +${hidden}`;
    }
    const rows = ["data", "grad"].map((name, k) => {
      const tint = svgElement("rect", { class: "tint", x: left + 3, y: line(k + 1) - 11, width: width - 6, height: ROW - 1, fill: "none" }, element);
      svgElement("text", { class: "name", x: left + 7, y: line(k + 1) }, element, name);
      const text = svgElement("text", { x: left + width - 7, y: line(k + 1), "text-anchor": "end" }, element);
      return { tint, text };
    });
    drawn.items.set(id, { element, rows });
  };

  const tinted = (x, largest) => {
    if (!x || x !== x || !largest) return "none";
    const strength = 0.12 + 0.45 * Math.min(1, Math.abs(x) / largest);
    return `rgba(var(--${x < 0 ? "negative" : "positive"}), ${strength.toFixed(3)})`;
  };

  const show = (row, x, largest) => {
    row.text.textContent = x === null || x === undefined ? "?" : short(x);
    row.tint.style.fill = tinted(x, largest);
  };

  // Move the view to what is lit, if it cannot be seen.
  const bringIntoView = (ids) => {
    for (const id of ids) {
      const { x, y, width, height } = shown.graph.node(id);
      const left = zoom.x + (x - width / 2) * zoom.scale, right = zoom.x + (x + width / 2) * zoom.scale;
      const top = zoom.y + (y - height / 2) * zoom.scale, bottom = zoom.y + (y + height / 2) * zoom.scale;
      if (left >= 0 && top >= 0 && right <= stage.clientWidth && bottom <= stage.clientHeight) continue;
      zoom.x = stage.clientWidth / 2 - x * zoom.scale;
      zoom.y = stage.clientHeight / 2 - y * zoom.scale;
      place();
    }
  };

  // Bring what is drawn up to date with the position.
  const refresh = () => {
    const { data, grads } = state();
    const step = live && position > 0 ? story.list[position - 1] : null;
    const largest = Math.max(0, ...grads.filter(Number.isFinite).map(Math.abs));
    const items = itemsOfBoxes();
    const lit = new Set();
    if (step) {
      lit.add(items[step.node]);
      if (step.kind === "arrow") lit.add(items[step.operand]);
      if (step.kind === "forward") boxes[step.node].operands.filter(isBox).forEach((operand) => lit.add(items[operand]));
    }
    for (const [id, { element, rows }] of drawn.items) {
      const index = Number(id.slice(1));
      const isGroup = id[0] === "g";
      const ends = isGroup ? outputsOf(id, items) : [index];
      const end = ends[ends.length - 1];
      element.classList.toggle("lit", lit.has(id));
      element.classList.toggle("selected", selected === id);
      element.classList.toggle("unknown", data[end] === null);
      show(rows[0], data[end], 0);
      show(rows[1], grads[end], largest);
      if (isGroup && ends.length > 1) {
        rows[0].text.textContent = `${ends.length} results`;
        rows[1].text.textContent = "open to see";
        rows[1].tint.style.fill = "none";
      }
      element.setAttribute("aria-label", labelOf(id, data, grads));
    }
    const arrow = step && step.kind === "arrow" ? `${step.node}-${step.place}` : "";
    for (const { path, arrows } of drawn.edges) {
      const isForward = step && step.kind === "forward" && arrows.some((key) => key.startsWith(`${step.node}-`));
      path.classList.toggle("lit", arrows.includes(arrow) || Boolean(isForward));
      path.classList.toggle("backward", arrows.includes(arrow));
    }
    const slider = byId("position");
    slider.max = story.list.length;
    slider.value = position;
    const where = position <= story.forwards ? `forward ${position}` : `backward ${position - story.forwards}`;
    const length = position <= story.forwards ? story.forwards : story.list.length - story.forwards;
    byId("count").textContent = live ? `${where} of ${length}` : "as in Python";
    const sentence = !live ? asInPython() : step ? step.sentence : "Nothing is computed yet: only the leaves have data.";
    if (byId("sentence").textContent !== sentence) byId("sentence").textContent = sentence;
    slider.setAttribute("aria-valuetext", sentence);
    for (const item of byId("list").children) item.toggleAttribute("aria-current", live && Number(item.value) === position);
    showSelected(data, grads);
  };

  const outputsOf = (id, items) => {
    const inside = boxes.map((_, index) => index).filter((index) => items[index] === id);
    const members = new Set(inside);
    const outputs = inside.filter(
      (index) => boxes[index].operands.length && (index === root || tape.users[index].some(([user]) => !members.has(user)))
    );
    return outputs.length ? outputs : inside.slice(-1);
  };

  const labelOf = (id, data, grads) => {
    if (id[0] === "g") return `${groups[Number(id.slice(1))].name}, folded: Enter opens it`;
    const index = Number(id.slice(1)), box = boxes[index];
    const known = data[index] === null ? "data not computed yet" : `data ${short(data[index])}`;
    return `${box.kind} ${box.name}${box.symbol ? `, ${box.symbol}` : ""}, ${known}, grad ${short(grads[index])}`;
  };

  // All digits, the local derivatives, and which operand gets how much.
  const detailsOf = (index, data, grads) => {
    const box = boxes[index];
    const lines = [box.name];
    lines.push(`data ${data[index] === null ? "not computed yet" : exact(data[index])}`, `grad ${exact(grads[index])}`);
    if (data[index] === null) return lines;
    box.operands.forEach((operand, at) => {
      if (!isBox(operand)) return;
      const local = tape.derivative(box, at, data, data[index]);
      if (box.kind === "own" && box.operands.indexOf(operand) < at) return;
      if (local === null) lines.push(`→ ${tape.called(operand)}: by your own _backward`);
      else lines.push(`→ ${tape.called(operand)}: local derivative ${short(local)}, gets ${short(local)} * ${short(grads[index])} = ${short(local * grads[index])}`);
    });
    if (box.overwrites) lines.push("its _backward overwrites: it should add, +=");
    if (!box.row && box.operands.length) lines.push("your own code: the page keeps its data as it was in Python");
    return lines;
  };

  // -- the selected node ---------------------------------------------------------------------------

  let builtFor = null;
  const controls = {};
  const showSelected = (data, grads) => {
    const panel = byId("node");
    const index = selected && selected[0] === "b" ? Number(selected.slice(1)) : null;
    if (index === null) {
      if (builtFor !== "nothing") panel.replaceChildren(htmlElement("p", "Select a node to see all its digits; a leaf can be moved."));
      builtFor = "nothing";
      return;
    }
    const box = boxes[index];
    if (builtFor !== index) {
      builtFor = index;
      panel.replaceChildren();
      htmlElement("h2", box.name, panel);
      controls.table = htmlElement("table", undefined, panel);
      controls.slider = controls.nudge = null;
      if (isLeaf(index)) buildLeafControls(index, panel);
      else if (box.operands.some(isBox)) {
        const fold = htmlElement("button", foldedNodes.has(index) ? "unfold (f)" : "fold what only this uses (f)", panel);
        fold.onclick = () => toggleFold(index);
      }
    }
    controls.table.replaceChildren();
    for (const line of detailsOf(index, data, grads).slice(1)) {
      const row = htmlElement("tr", undefined, controls.table);
      const match = /^(data|grad|→ .*?:) (.*)$/.exec(line);
      htmlElement("th", match ? match[1] : "", row);
      htmlElement("td", match ? match[2] : line, row);
    }
    if (controls.slider) {
      if (document.activeElement !== controls.exact) controls.exact.value = leaves[index];
      controls.slider.value = leaves[index];
      const slope = tape.nudged(leaves, index, h);
      const grad = tape.backward(tape.forward(leaves))[index];
      const frozen = tape.frozenBelow(index);
      controls.nudge.textContent = frozen.length
        ? `${tape.name(frozen[0])} is made by your own code, which the page cannot run: nothing past it moves.`
        : `(f(x + h) - f(x)) / h = ${exact(slope)}   backward: ${exact(grad)}   difference: ${short(slope - grad)}`;
      controls.h.textContent = `h = ${h.toExponential(0)}`;
    }
  };

  const buildLeafControls = (index, panel) => {
    const reach = Math.max(2, 2 * Math.abs(leaves[index]) || 2);
    const middle = Number.isFinite(leaves[index]) ? leaves[index] : 0;
    const label = htmlElement("label", "data ", panel);
    controls.slider = htmlElement("input", undefined, label);
    Object.assign(controls.slider, { type: "range", id: "leaf", min: middle - reach, max: middle + reach, step: "any" });
    controls.slider.setAttribute("aria-label", `data of ${boxes[index].name}`);
    controls.exact = htmlElement("input", undefined, label);
    Object.assign(controls.exact, { type: "number", id: "exact", step: "any" });
    controls.exact.setAttribute("aria-label", `data of ${boxes[index].name}, exactly`);
    controls.slider.oninput = () => move(index, Number(controls.slider.value));
    controls.exact.oninput = () => controls.exact.value !== "" && move(index, Number(controls.exact.value));
    const nudge = htmlElement("label", "nudge ", panel);
    const slider = htmlElement("input", undefined, nudge);
    Object.assign(slider, { type: "range", id: "h", min: -12, max: 0, step: 0.25, value: Math.log10(h) });
    slider.setAttribute("aria-label", "size of the nudge, as a power of ten");
    controls.h = htmlElement("output", "", nudge);
    controls.nudge = htmlElement("p", "", panel);
    controls.nudge.id = "nudged";
    slider.oninput = () => {
      h = 10 ** Number(slider.value);
      refresh();
    };
  };

  // -- changing things -----------------------------------------------------------------------------

  const retell = () => {
    const atEnd = position >= story.list.length;
    story = tape.steps(leaves, switches());
    position = atEnd ? story.list.length : Math.min(position, story.list.length);
    fillList();
  };

  const move = (index, x) => {
    leaves[index] = x;
    if (!live) position = story.list.length;
    live = true;
    retell();
    refresh();
  };

  const go = (to) => {
    live = true;
    position = Math.max(0, Math.min(story.list.length, to));
    // A page in a notebook has no address of its own.
    try {
      window.history.replaceState(null, "", `#${position}`);
    } catch {}
    refresh();
    const step = position > 0 ? story.list[position - 1] : null;
    const items = itemsOfBoxes();
    if (step) bringIntoView([items[step.node], ...(step.kind === "arrow" ? [items[step.operand]] : [])]);
  };
  const stepBy = (count) => go(position + count);

  const stop = () => {
    clearInterval(playing);
    playing = null;
    byId("play").textContent = "▶▶";
    byId("play").setAttribute("aria-label", "play");
  };
  const play = () => {
    if (playing) return stop();
    if (position >= story.list.length) go(0);
    byId("play").textContent = "❚❚";
    byId("play").setAttribute("aria-label", "pause");
    playing = setInterval(() => (position >= story.list.length ? stop() : stepBy(1)), 900);
  };

  const descend = () => {
    const rate = Number(byId("rate").value);
    const data = tape.forward(leaves);
    const grads = tape.steps(leaves, switches()).list.reduce((all, step) => {
      if (step.kind === "seed") all[step.node] = 1;
      if (step.kind === "arrow") all[step.operand] = step.after;
      return all;
    }, boxes.map(() => 0));
    const before = data[root];
    for (const index of movable) leaves[index] -= rate * grads[index];
    live = true;
    position = story.list.length;
    retell();
    position = story.list.length;
    const after = story.data[root];
    if (!history.length) history.push(before);
    history.push(after);
    const verdict = after > before ? " It rose: the rate is too large, the step went too far." : "";
    byId("history").textContent = `${boxes[root].title}: ${history.slice(-6).map(short).join(" → ")}.${verdict}`;
    refresh();
    byId("sentence").textContent =
      `data -= ${short(rate)} * grad for ${movable.length} ${parameters.length ? "parameters" : "leaves"}: ` +
      `${boxes[root].title} ${short(before)} → ${short(after)}.${verdict}`;
  };

  const reset = () => {
    leaves = tape.recorded.slice();
    history.length = 0;
    byId("history").textContent = "";
    live = false;
    builtFor = null;
    for (const id of ["overwrite", "forget", "wrong"]) byId(id).checked = false;
    story = tape.steps(leaves);
    position = boxes.some((box) => box.grad !== 0) ? story.list.length : story.forwards;
    fillList();
    refresh();
  };

  const fillList = () => {
    if (!byId("list").closest("details").open) return;
    byId("list").replaceChildren(
      ...story.list.map((step, k) => {
        const item = htmlElement("li", step.sentence);
        item.value = k + 1;
        return item;
      })
    );
  };

  const toggleFold = (index) => {
    foldedNodes.has(index) ? foldedNodes.delete(index) : foldedNodes.add(index);
    builtFor = null;
    draw();
  };

  const select = (id) => {
    if (id[0] === "g") {
      foldedGroups.delete(Number(id.slice(1)));
      return draw();
    }
    selected = id;
    refresh();
  };

  // -- input ---------------------------------------------------------------------------------------

  byId("first").onclick = () => go(0);
  byId("back").onclick = () => stepBy(-1);
  byId("next").onclick = () => stepBy(1);
  byId("last").onclick = () => go(story.list.length);
  byId("play").onclick = play;
  byId("position").oninput = () => go(Number(byId("position").value));
  byId("descend").onclick = descend;
  byId("reset").onclick = reset;
  byId("fit").onclick = fit;
  byId("open").onclick = () => {
    foldedGroups.clear();
    foldedNodes.clear();
    builtFor = null;
    draw();
  };
  byId("fold").onclick = () => {
    groups.forEach((_, group) => foldedGroups.add(group));
    draw();
  };
  byId("fold").hidden = groups.length === 0;
  byId("theme").onclick = () => {
    const dark = document.documentElement.dataset.theme
      ? document.documentElement.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    document.documentElement.dataset.theme = dark ? "light" : "dark";
  };
  for (const id of ["overwrite", "forget", "wrong"]) {
    byId(id).onchange = () => {
      if (!live) position = story.list.length;
      live = true;
      retell();
      refresh();
    };
  }
  byId("list").closest("details").ontoggle = () => {
    fillList();
    refresh();
  };
  byId("list").onclick = (event) => event.target.closest("li") && go(event.target.closest("li").value);

  const zoomBy = (factor, x = stage.clientWidth / 2, y = stage.clientHeight / 2) => {
    const scale = Math.max(0.05, Math.min(4, zoom.scale * factor));
    zoom.x = x - ((x - zoom.x) * scale) / zoom.scale;
    zoom.y = y - ((y - zoom.y) * scale) / zoom.scale;
    zoom.scale = scale;
    zoom.byHand = true;
    place();
  };
  byId("in").onclick = () => zoomBy(1.25);
  byId("out").onclick = () => zoomBy(0.8);
  stage.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const at = stage.getBoundingClientRect();
    zoomBy(Math.exp(-event.deltaY / 300), event.clientX - at.left, event.clientY - at.top);
  }, { passive: false });
  let drag = null;
  graphElement.onpointerdown = (event) => {
    drag = { x: event.clientX - zoom.x, y: event.clientY - zoom.y, moved: false, startX: event.clientX, startY: event.clientY };
  };
  window.addEventListener("pointermove", (event) => {
    if (!drag) return;
    drag.moved ||= Math.hypot(event.clientX - drag.startX, event.clientY - drag.startY) > 4;
    if (!drag.moved) return;
    zoom.byHand = true;
    zoom.x = event.clientX - drag.x;
    zoom.y = event.clientY - drag.y;
    place();
  });
  window.addEventListener("pointerup", () => setTimeout(() => (drag = null)));

  graphElement.onclick = (event) => {
    if (drag && drag.moved) return;
    const cluster = event.target.closest(".cluster");
    if (cluster && event.target.tagName === "text") {
      foldedGroups.add(Number(cluster.dataset.group));
      return draw();
    }
    const box = event.target.closest(".box");
    if (box) select(box.dataset.id);
  };
  const tip = byId("tip");
  graphElement.onpointermove = (event) => {
    const box = event.target.closest(".box");
    tip.hidden = !box || (drag && drag.moved);
    if (tip.hidden) return;
    const { data, grads } = state();
    const id = box.dataset.id;
    tip.textContent = id[0] === "g" ? `${groups[Number(id.slice(1))].name}: a click opens it` : detailsOf(Number(id.slice(1)), data, grads).join("\n");
    const at = stage.getBoundingClientRect();
    const x = Math.min(event.clientX - at.left + 14, at.width - tip.offsetWidth - 4);
    const below = event.clientY - at.top + 16;
    tip.style.left = `${Math.max(2, x)}px`;
    tip.style.top = `${below + tip.offsetHeight > at.height ? Math.max(2, below - tip.offsetHeight - 30) : below}px`;
  };
  graphElement.onpointerleave = () => (tip.hidden = true);

  document.addEventListener("keydown", (event) => {
    const target = event.target;
    if (target.matches('input[type="range"], input[type="number"]') || event.ctrlKey || event.metaKey || event.altKey) return;
    const focused = target.closest ? target.closest(".box, .cluster text") : null;
    const keys = {
      ArrowRight: () => stepBy(1), ArrowLeft: () => stepBy(-1), Home: () => go(0), End: () => go(story.list.length),
      "+": () => zoomBy(1.25), "-": () => zoomBy(0.8), 0: fit, d: descend,
      f: () => selected && selected[0] === "b" && toggleFold(Number(selected.slice(1))),
    };
    if (!target.matches("button, summary, input, li")) keys[" "] = play;
    if (focused) {
      keys.Enter = () => {
        if (focused.dataset.id) return select(focused.dataset.id);
        foldedGroups.add(Number(focused.parentNode.dataset.group));
        draw();
      };
      if (focused.dataset.id) keys.f = () => toggleFold(Number(focused.dataset.id.slice(1)));
    }
    if (!(event.key in keys)) return;
    event.preventDefault();
    keys[event.key]();
  });
  window.addEventListener("hashchange", () => readAddress());
  const readAddress = () => {
    const match = /^#(?:step=?)?(\d+)$/.exec(window.location.hash);
    if (match && !(live && position === Number(match[1]))) go(Number(match[1]));
  };
  let width = stage.clientWidth;
  new ResizeObserver(() => {
    if (Math.abs(stage.clientWidth - width) >= 2) draw(zoom.byHand);
    else if (!zoom.byHand) fit();
    width = stage.clientWidth;
  }).observe(stage);

  // -- start ---------------------------------------------------------------------------------------

  // A graph that cannot be read as a whole opens with its layers folded, or else with its networks.
  const isTooLarge = () => new Set(itemsOfBoxes()).size > description.foldAbove || (draw(), scaleOf(shown) < READABLE);
  if (groups.length && isTooLarge()) {
    const networks = new Set(groups.filter((group) => group.kind === "layer").map((group) => group.parent));
    groups.forEach((_, at) => networks.has(at) || foldedGroups.add(at));
    if (isTooLarge()) groups.forEach((_, at) => foldedGroups.add(at));
  }
  draw();
  readAddress();
  window.explorer = { tape, state, story: () => story, go, move, position: () => position, items: () => shown.ids };
  document.documentElement.dataset.ready = "yes";
})();
