// The binary messages of a session; lvis/serve/wire.py is the other end.

/** `[u32 length][JSON header][JPEGs]` -> {header, pictures: [Uint8Array, ...]}: measured and restored in turns. */
export function unpack(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  let begin = 4 + length;
  const pictures = header.bytes.map((size) => {
    const picture = new Uint8Array(buffer, begin, size);
    begin += size;
    return picture;
  });
  return { header, pictures };
}

/** A webcam's frame: `[u32 number][f64 time in ms][JPEG]`. */
export function packFrame(number, milliseconds, jpeg) {
  const message = new Uint8Array(12 + jpeg.byteLength);
  const view = new DataView(message.buffer);
  view.setUint32(0, number, true);
  view.setFloat64(4, milliseconds, true);
  message.set(new Uint8Array(jpeg), 12);
  return message.buffer;
}
