// ZIP archives whose files are stored as they are: the texts behind a .tflite model, and what the
// page saves.

/** Reads an archive; returns `{start, files}`: where it begins, and a Map of names to bytes. */
export function readZip(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let end = bytes.length - 22;
  while (end >= 0 && view.getUint32(end, true) !== 0x06054b50) end -= 1;
  const files = new Map();
  if (end < 0) return { start: bytes.length, files };
  let at = end - view.getUint32(end + 12, true);
  const shift = at - view.getUint32(end + 16, true); // of what lies before the archive
  let start = at;
  for (let left = view.getUint16(end + 10, true); left > 0; left -= 1) {
    const [size, nameSize] = [view.getUint32(at + 24, true), view.getUint16(at + 28, true)];
    const head = shift + view.getUint32(at + 42, true);
    const begin = head + 30 + view.getUint16(head + 26, true) + view.getUint16(head + 28, true);
    const name = new TextDecoder().decode(bytes.subarray(at + 46, at + 46 + nameSize));
    if (view.getUint16(at + 10, true) !== 0) throw new Error(`${name} is compressed.`);
    files.set(name, bytes.subarray(begin, begin + size));
    start = Math.min(start, head);
    at += 46 + nameSize + view.getUint16(at + 30, true) + view.getUint16(at + 32, true);
  }
  return { start, files };
}

/** Returns an archive of a Map of names to bytes, as a Blob. */
export function writeZip(files) {
  const [parts, directory] = [[], []];
  let offset = 0;
  for (const [name, bytes] of files) {
    const text = new TextEncoder().encode(name);
    const shared = [0x0800, 0, 0, 0x21, crc32(bytes), bytes.length, bytes.length, text.length, 0];
    const sizes = [2, 2, 2, 2, 4, 4, 4, 2, 2];
    const head = record([0x04034b50, 20, ...shared], [4, 2, ...sizes]);
    parts.push(head, text, bytes);
    const more = [0, 0, 0, 0, offset];
    directory.push(record([0x02014b50, 20, 20, ...shared, ...more], [4, 2, 2, ...sizes, 2, 2, 2, 4, 4]));
    directory.push(text);
    offset += head.length + text.length + bytes.length;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const end = [0x06054b50, 0, 0, files.size, files.size, size, offset, 0];
  return new Blob([...parts, ...directory, record(end, [4, 2, 2, 2, 2, 4, 4, 2])]);
}

function record(values, sizes) {
  const view = new DataView(new ArrayBuffer(sizes.reduce((sum, size) => sum + size)));
  let at = 0;
  values.forEach((value, number) => {
    if (sizes[number] === 2) view.setUint16(at, value, true);
    else view.setUint32(at, value, true);
    at += sizes[number];
  });
  return new Uint8Array(view.buffer);
}

const TABLE = Uint32Array.from({ length: 256 }, (_, number) => {
  let value = number;
  for (let bit = 0; bit < 8; bit += 1) value = (value >>> 1) ^ (value & 1 ? 0xedb88320 : 0);
  return value;
});

function crc32(bytes) {
  let value = -1;
  for (const byte of bytes) value = (value >>> 8) ^ TABLE[(value ^ byte) & 255];
  return (value ^ -1) >>> 0;
}
