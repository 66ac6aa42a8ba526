// The page of a training run: one step of it at a time, by a slider, by playing it, or as it arrives.
(() => {
  "use strict";
  const film = JSON.parse(document.getElementById("description").textContent);
  const byId = (id) => document.getElementById(id);
  const { frames, losses, grid } = film;
  const LOW = [214, 84, 72], HIGH = [52, 118, 196];
  const LEVELS = [[-1, [4, 3]], [0, []], [1, [4, 3]]];
  const number = (x) => (typeof x === "string" ? Number(x) : x);
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  // From -1 to 1, nan where there is no number.
  const unpacked = (text) => Array.from(bytes(text), (byte) => (byte === 255 ? NaN : (byte - 127) / 127));
  const short = (x) => (Number.isFinite(x) ? String(Number(x.toPrecision(4))) : String(x));
  const middle = film.labels.length ? (Math.min(...film.labels) + Math.max(...film.labels)) / 2 : 0;
  const read = (frame) => ({
    ...frame, loss: number(frame.loss), scores: unpacked(frame.scores), weights: unpacked(frame.weights),
    grads: unpacked(frame.grads), norms: frame.norms.map(number),
  });
  const known = frames.map(read);
  for (const pair of losses) pair[1] = number(pair[1]);
  let at = 0;
  let playing = null;

  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const context = (canvas) => {
    const ratio = window.devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = canvas;
    canvas.width = Math.max(1, width * ratio);
    canvas.height = Math.max(1, height * ratio);
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    pen.font = "11px system-ui, sans-serif";
    return { pen, width, height };
  };
  const mixed = (colour, strength) => `rgba(${colour.join(",")},${strength})`;

  // -- the plane -----------------------------------------------------------------------------------

  const toScreen = (width, height) => {
    const [left, right] = grid.x, [low, high] = grid.y;
    return ([x, y]) => [((x - left) / (right - left)) * width, ((high - y) / (high - low)) * height];
  };

  // Lines on which the score has a value: the ends within each square, by linear interpolation.
  const contour = (scores, size, level, draw) => {
    for (let row = 0; row < size - 1; row++) {
      for (let column = 0; column < size - 1; column++) {
        const corners = [[column, row], [column + 1, row], [column + 1, row + 1], [column, row + 1]];
        const values = corners.map(([x, y]) => scores[y * size + x] - level);
        const ends = [];
        for (let k = 0; k < 4; k++) {
          const a = values[k], b = values[(k + 1) % 4];
          if (a < 0 === b < 0 || a !== a || b !== b) continue;
          const share = a / (a - b), from = corners[k], to = corners[(k + 1) % 4];
          ends.push([from[0] + share * (to[0] - from[0]), from[1] + share * (to[1] - from[1])]);
        }
        for (let k = 0; k + 1 < ends.length; k += 2) draw(ends[k], ends[k + 1]);
      }
    }
  };

  const drawPlane = (frame) => {
    if (!grid) return;
    const { pen, width, height } = context(byId("plane"));
    const { size, full } = grid;
    const image = new ImageData(size, size);
    frame.scores.forEach((score, index) => {
      const place = 4 * ((size - 1 - Math.floor(index / size)) * size + (index % size));
      const colour = score !== score ? [128, 128, 128] : score > 0 ? HIGH : LOW;
      image.data.set([...colour, 255 * (0.12 + 0.6 * Math.min(1, Math.abs(score) || 0))], place);
    });
    const small = document.createElement("canvas");
    small.width = small.height = size;
    small.getContext("2d").putImageData(image, 0, 0);
    pen.imageSmoothingEnabled = true;
    // The middle of an edge's pixel is on the edge.
    const dx = width / (size - 1), dy = height / (size - 1);
    pen.drawImage(small, -dx / 2, -dy / 2, width + dx, height + dy);
    pen.strokeStyle = style("--ink");
    for (const [level, dash] of LEVELS) {
      pen.setLineDash(dash);
      pen.lineWidth = level === 0 ? 2 : 1;
      pen.beginPath();
      contour(frame.scores, size, level / full, ([ax, ay], [bx, by]) => {
        pen.moveTo(ax * dx, height - ay * dy);
        pen.lineTo(bx * dx, height - by * dy);
      });
      pen.stroke();
    }
    pen.setLineDash([]);
    pen.lineWidth = 1;
    const screen = toScreen(width, height);
    film.points.forEach((point, index) => {
      const [x, y] = screen(point);
      pen.beginPath();
      pen.arc(x, y, 4, 0, 7);
      pen.fillStyle = mixed(film.labels[index] > middle ? HIGH : LOW, 1);
      pen.strokeStyle = "#111";
      pen.fill();
      pen.stroke();
    });
  };

  // -- the loss ------------------------------------------------------------------------------------

  const drawLoss = (frame) => {
    const { pen, width, height } = context(byId("loss"));
    const finite = losses.filter(([, loss]) => Number.isFinite(loss));
    if (!finite.length) return;
    const logarithmic = finite.every(([, loss]) => loss > 0);
    const heights = finite.map(([, loss]) => (logarithmic ? Math.log10(loss) : loss));
    const low = Math.min(...heights), high = Math.max(...heights);
    const end = Math.max(1, finite[finite.length - 1][0]);
    const left = 52, bottom = height - 20, top = 10;
    const x = (step) => left + ((width - left - 10) * step) / end;
    const y = (h) => bottom - ((bottom - top) * (h - low)) / (high - low || 1);
    pen.fillStyle = style("--soft");
    pen.strokeStyle = style("--line");
    for (let k = 0; k <= 4; k++) {
      const h = low + ((high - low) * k) / 4;
      pen.fillText(short(Number((logarithmic ? 10 ** h : h).toPrecision(3))), 4, y(h) + 4);
      pen.beginPath();
      pen.moveTo(left, y(h));
      pen.lineTo(width - 10, y(h));
      pen.globalAlpha = 0.4;
      pen.stroke();
      pen.globalAlpha = 1;
    }
    pen.fillText("step 0", left, height - 5);
    pen.fillText(String(end), width - 10 - pen.measureText(String(end)).width, height - 5);
    pen.strokeStyle = style("--lit");
    pen.lineWidth = 1.8;
    pen.beginPath();
    finite.forEach(([step], k) => pen[k ? "lineTo" : "moveTo"](x(step), y(heights[k])));
    pen.stroke();
    if (Number.isFinite(frame.loss)) {
      pen.strokeStyle = style("--ink");
      pen.lineWidth = 1;
      pen.beginPath();
      pen.moveTo(x(frame.step), top);
      pen.lineTo(x(frame.step), bottom);
      pen.stroke();
      pen.fillStyle = style("--lit");
      pen.beginPath();
      pen.arc(x(frame.step), y(logarithmic ? Math.log10(frame.loss) : frame.loss), 4, 0, 7);
      pen.fill();
    }
    byId("loss-caption").textContent = `the loss${logarithmic ? ", on a logarithmic axis" : ""}`;
  };

  // -- neurons and parameters ----------------------------------------------------------------------

  const drawHidden = (frame) => {
    byId("hidden-figure").hidden = !film.hidden.length;
    if (!film.hidden.length) return;
    const { pen, width, height } = context(byId("hidden"));
    const rows = film.hidden.length, tall = height / rows;
    let dead = 0;
    frame.active.forEach((layer, row) => {
      const wide = (width - 56) / layer.length;
      pen.fillStyle = style("--soft");
      pen.fillText(film.hidden[row][0], 4, row * tall + tall / 2 + 4);
      layer.forEach((share, k) => {
        const x = 56 + k * wide, y = row * tall + 2;
        pen.fillStyle = mixed([40, 150, 100], 0.08 + 0.85 * share);
        pen.fillRect(x + 1, y, Math.max(1, wide - 2), tall - 4);
        if (share > 0) return;
        dead++;
        pen.fillStyle = style("--ink");
        pen.fillText("×", x + wide / 2 - 3, y + tall / 2 + 2);
      });
    });
    byId("hidden-caption").textContent = `share of the points for which each ReLU is on; × is dead: ${dead} now`;
  };

  const drawSizes = (frame) => {
    const { pen, width, height } = context(byId("sizes"));
    const wide = width / frame.weights.length;
    [frame.weights, frame.grads].forEach((list, row) => {
      list.forEach((size, k) => {
        pen.fillStyle = size !== size ? "#888" : mixed(size < 0 ? LOW : HIGH, Math.abs(size));
        pen.fillRect(k * wide, (row * height) / 2, Math.max(wide, 0.5), height / 2 - 1);
      });
    });
  };

  byId("sizes").onpointermove = (event) => {
    const frame = known[at];
    if (!frame) return;
    const k = Math.min(film.names.length - 1, Math.floor((event.offsetX / byId("sizes").clientWidth) * film.names.length));
    byId("sizes").title = film.names[k];
  };

  // -- time ----------------------------------------------------------------------------------------

  const show = () => {
    const frame = known[at];
    byId("time").max = Math.max(0, known.length - 1);
    byId("time").value = at;
    if (!frame) {
      byId("sentence").textContent = film.live ? "Waiting for the first step." : "";
      return;
    }
    byId("where").textContent = `step ${frame.step}`;
    const accuracy = frame.accuracy === null ? "" : `, accuracy ${Math.round(frame.accuracy * 100)}%`;
    const [weights, grads] = frame.norms;
    byId("sentence").textContent =
      `step ${frame.step}: loss ${short(frame.loss)}${accuracy}; root mean square of ${film.parameters} parameters ` +
      `${short(weights)}, of their gradients ${short(grads)}`;
    drawPlane(frame);
    drawLoss(frame);
    drawHidden(frame);
    drawSizes(frame);
  };
  const go = (to) => {
    at = Math.max(0, Math.min(known.length - 1, to));
    show();
  };
  const stop = () => {
    clearInterval(playing);
    playing = null;
    byId("play").textContent = "▶";
    byId("play").setAttribute("aria-label", "play");
  };
  const play = () => {
    if (playing) return stop();
    if (at >= known.length - 1) go(0);
    byId("play").textContent = "❚❚";
    byId("play").setAttribute("aria-label", "pause");
    playing = setInterval(() => (at >= known.length - 1 ? stop() : go(at + 1)), 60);
  };
  byId("play").onclick = play;
  byId("time").oninput = () => go(Number(byId("time").value));
  document.addEventListener("keydown", (event) => {
    if (event.target.matches("input")) return;
    const keys = { ArrowRight: () => go(at + 1), ArrowLeft: () => go(at - 1), Home: () => go(0), End: () => go(known.length - 1) };
    if (!event.target.matches("button")) keys[" "] = play;
    if (!(event.key in keys)) return;
    event.preventDefault();
    keys[event.key]();
  });
  // A notebook gives the page its size after it has run, and later another one.
  new ResizeObserver(show).observe(byId("pictures"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);

  // -- while it trains -----------------------------------------------------------------------------

  // Pictures that a page keeps: of a longer run every second one.
  const MOST = 600;
  let waiting = false;
  const receive = (frame) => {
    const last = at >= known.length - 1;
    known.push(read(frame));
    losses.push([frame.step, number(frame.loss)]);
    if (known.length > MOST) {
      for (const list of [known, losses]) list.splice(0, list.length, ...list.filter((_, k) => k % 2 === 0 || k === list.length - 1));
      at = Math.floor(at / 2);
    }
    if (last) at = known.length - 1;
    // Pictures that come faster than the screen shows them are drawn once.
    if (!waiting) requestAnimationFrame(() => ((waiting = false), show()));
    waiting = true;
  };
  const send = (message) => fetch("message", { method: "POST", body: JSON.stringify(message) });
  if (film.live) {
    byId("live").hidden = false;
    byId("clicks").hidden = !grid;
    let paused = false;
    const speed = () => 2 ** Number(byId("speed").value);
    const tell = () => send({ speed: paused ? 0 : speed() });
    byId("pause").onclick = () => {
      paused = !paused;
      byId("pause").textContent = paused ? "go on" : "pause";
      tell();
    };
    byId("speed").oninput = () => {
      byId("speed-of").textContent = String(speed());
      tell();
    };
    const source = new EventSource("frames");
    source.onmessage = (event) => receive(JSON.parse(event.data));
    source.onerror = () => {
      byId("sentence").textContent += " (the training has ended)";
      source.close();
    };
    byId("plane").onclick = (event) => {
      const { clientWidth, clientHeight } = byId("plane");
      const [left, right] = grid.x, [low, high] = grid.y;
      const point = [left + ((right - left) * event.offsetX) / clientWidth, high - ((high - low) * event.offsetY) / clientHeight];
      const isHigh = document.querySelector('input[name="label"]:checked').value === "high";
      const label = isHigh ? Math.max(...film.labels) : Math.min(...film.labels);
      film.points.push(point);
      film.labels.push(label);
      send({ point, label });
      show();
    };
  }

  byId("plane-figure").hidden = !grid;
  go(known.length - 1);
  window.film = { go, known, at: () => at, points: film.points };
  document.documentElement.dataset.ready = "yes";
})();
