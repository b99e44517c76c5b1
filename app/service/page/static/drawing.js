/** Draws a picture of a channel with the names of its faces, as sharp as the screen. */

const COLOURS = { known: "#3fd268", unknown: "#ffb224", not_compared: "#b8c0c8" };
const FONT_PX = 14;

/** Boxes are in pixels of the JPEG. Returns its size. */
export async function drawPicture(canvas, faces, jpeg) {
  const picture = await createImageBitmap(jpeg);
  const ratio = devicePixelRatio;
  const width = Math.round(canvas.clientWidth * ratio) || picture.width;
  const scale = width / picture.width;
  const height = Math.round(picture.height * scale);
  // Setting a size clears the canvas, even to the size that it has.
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  context.drawImage(picture, 0, 0, width, height);
  const size = { width: picture.width, height: picture.height };
  picture.close();
  context.lineWidth = 2 * ratio;
  context.font = `600 ${FONT_PX * ratio}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  const labels = [];
  for (const face of faces) {
    const [left, top, right, bottom] = face.box.map((side) => side * scale);
    const colour = COLOURS[face.state] ?? COLOURS.not_compared;
    context.strokeStyle = colour;
    context.strokeRect(left, top, right - left, bottom - top);
    const text = face.name ?? face.stranger;
    if (text) labels.push({ text, colour, ...place(context, text, left, top, bottom, ratio, labels) });
  }
  // After all boxes, so that none of them crosses a name.
  for (const { text, colour, x, y, width: labelWidth, height: labelHeight } of labels) {
    context.fillStyle = colour;
    context.fillRect(x, y, labelWidth, labelHeight);
    context.fillStyle = "#111111";
    context.fillText(text, x + 5 * ratio, y + labelHeight / 2);
  }
  return size;
}

/** Above the box, or below it where another name is in the way. */
function place(context, text, left, top, bottom, ratio, others) {
  const height = 1.5 * FONT_PX * ratio;
  const width = context.measureText(text).width + 10 * ratio;
  const x = Math.max(0, Math.min(left - ratio, context.canvas.width - width));
  const above = Math.max(0, top - height);
  const below = Math.min(bottom, context.canvas.height - height);
  const isFree = (y) =>
    others.every((one) => x + width <= one.x || one.x + one.width <= x || y + height <= one.y || one.y + one.height <= y);
  return { x, y: isFree(above) || !isFree(below) ? above : below, width, height };
}
