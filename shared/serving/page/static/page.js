"use strict";

const the = (id) => document.getElementById(id);
const MOST_BYTES = Number(document.body.dataset.mostBytes);
let asked = 0; // the number of the newest question: older answers are dropped

function say(text, isError = false) {
  the("status").textContent = text; // never as HTML: names of files are in it
  the("status").classList.toggle("error", isError);
  the("status").scrollIntoView({ block: "nearest" });
}

function fail(text) {
  the("answer").hidden = true;
  say(text, true);
}

async function ask(blob, name) {
  const question = ++asked;
  if (blob.size > MOST_BYTES) {
    const most = Math.floor(MOST_BYTES / 1024 / 1024);
    return fail(`${name} is too large: at most ${most} MB are read.`);
  }
  say(`Asking about ${name} …`);
  const form = new FormData();
  form.append("image", blob, name);
  let answer;
  try {
    const response = await fetch("predict", { method: "POST", body: form });
    answer = await response.json();
    if (question !== asked) return;
    if (!response.ok) return fail(`${name}: ${answer.error}`);
  } catch (error) {
    return question === asked && fail("The server does not answer. Is it still running?");
  }
  URL.revokeObjectURL(the("preview").src);
  the("preview").src = URL.createObjectURL(blob);
  show(answer);
}

function show(answer) {
  the("seen").src = answer.seen;
  // 0.9999 is not 100%: no class is ever certain
  const percent = (share) =>
    share > 0.9995 ? "over 99.9%" : `${(100 * share).toFixed(1)}%`;
  const rows = answer.classes.slice(0, 3).map((name, place) => {
    const row = document.createElement("tr");
    const title = document.createElement("th");
    title.scope = "row";
    title.textContent = name;
    const bar = document.createElement("meter");
    bar.value = answer.probabilities[place];
    bar.setAttribute("aria-hidden", "true"); // the number beside it says it
    const cell = document.createElement("td");
    cell.append(bar, ` ${percent(answer.probabilities[place])}`);
    row.append(title, cell);
    return row;
  });
  the("bars").replaceChildren(...rows);
  the("time").textContent = `Answered in ${answer.milliseconds.toFixed(1)} milliseconds.`;
  the("answer").hidden = false;
  the("answer").scrollIntoView({ block: "nearest" });
  say(`It says ${answer.classes[0]}, ${percent(answer.probabilities[0])} sure.`);
}

function first(files) {
  if (files.length) ask(files[0], files[0].name || "the picture");
}

the("file").addEventListener("change", (event) => {
  first(event.target.files);
  event.target.value = ""; // so that the same file can be chosen again
});
document.addEventListener("paste", (event) => first(event.clipboardData.files));
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  the("drop").classList.add("over");
});
document.addEventListener("dragleave", () => the("drop").classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  the("drop").classList.remove("over");
  first(event.dataTransfer.files);
});

// ---- Drawing, where the classes are digits ----
if (the("canvas")) {
  const canvas = the("canvas");
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  let at = { x: canvas.width / 2, y: canvas.height / 2 };
  let isDown = false;
  Object.assign(the("pen").style, { left: "50%", top: "50%" });

  function clear() {
    pen.fillStyle = "black";
    pen.fillRect(0, 0, canvas.width, canvas.height);
    Object.assign(pen, { strokeStyle: "white", lineWidth: 26, lineCap: "round", lineJoin: "round" });
  }

  function lineTo(x, y) {
    pen.beginPath();
    pen.moveTo(at.x, at.y);
    pen.lineTo(x, y);
    pen.stroke();
    at = { x, y };
  }

  function place(event) {
    const box = canvas.getBoundingClientRect();
    const scale = canvas.width / box.width;
    return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
  }

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    const [x, y] = place(event);
    at = { x, y };
    isDown = true;
    lineTo(x, y); // a dot
  });
  canvas.addEventListener("pointermove", (event) => isDown && lineTo(...place(event)));
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, () => { isDown = false; });
  }
  canvas.addEventListener("keydown", (event) => {
    if (event.key === " ") {
      isDown = !isDown;
      the("pen").classList.toggle("down", isDown);
      if (isDown) lineTo(at.x, at.y); // a dot
      say(isDown ? "The pen is down." : "The pen is up.");
    } else if (event.key in KEYS) {
      const [right, down] = KEYS[event.key];
      const x = Math.min(Math.max(at.x + 12 * right, 0), canvas.width);
      const y = Math.min(Math.max(at.y + 12 * down, 0), canvas.height);
      if (isDown) lineTo(x, y);
      at = { x, y };
      the("pen").style.left = `${(100 * x) / canvas.width}%`;
      the("pen").style.top = `${(100 * y) / canvas.height}%`;
    } else {
      return;
    }
    event.preventDefault();
  });

  // the training digits fill about three quarters of their picture, in its middle
  function centred() {
    const { data, width, height } = pen.getImageData(0, 0, canvas.width, canvas.height);
    let [left, top, right, bottom] = [width, height, -1, -1];
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        if (data[4 * (y * width + x)] > 40) {
          left = Math.min(left, x);
          right = Math.max(right, x);
          top = Math.min(top, y);
          bottom = Math.max(bottom, y);
        }
      }
    }
    if (right < 0) return null;
    const long = Math.max(right - left, bottom - top) + 1;
    const scale = (0.76 * width) / long;
    const copy = document.createElement("canvas");
    Object.assign(copy, { width, height });
    const ink = copy.getContext("2d");
    ink.fillRect(0, 0, width, height);
    ink.setTransform(scale, 0, 0, scale, width / 2 - (scale * (left + right)) / 2, height / 2 - (scale * (top + bottom)) / 2);
    ink.drawImage(canvas, 0, 0);
    return copy;
  }

  the("clear").addEventListener("click", () => {
    clear();
    say("Cleared.");
  });
  the("ask").addEventListener("click", () => {
    const drawing = centred();
    if (!drawing) return fail("Nothing is drawn yet.");
    drawing.toBlob((blob) => ask(blob, "your drawing"), "image/png");
  });
  clear();
}
