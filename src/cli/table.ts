/** Tables of text for a terminal. */

/** What a terminal shows and does not act on. Marks of writing direction are none of it. */
const shown = '\\p{L}\\p{M}\\p{N}\\p{P}\\p{S} ';
const onlyShown = new RegExp(`^[${shown}]*$`, 'u');
const notShown = new RegExp(`[^${shown}]`, 'gu');

function escapeUnits(character: string): string {
  return character
    .split('')
    .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
    .join('');
}

/** A name on one line, with nothing in it that a terminal would act on. */
export function printable(name: string): string {
  if (onlyShown.test(name) && name.trim() === name) return name;
  // JSON leaves DEL, the C1 controls and the marks of writing direction as they are.
  return JSON.stringify(name).replaceAll(notShown, escapeUnits);
}

/** Rows under a header, each column as wide as its widest cell. */
export function formatTable(
  header: readonly string[],
  rows: readonly (readonly string[])[],
): string {
  const widths = header.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const line = (cells: readonly string[]) =>
    `${cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd()}\n`;
  return [header, ...rows].map(line).join('');
}
