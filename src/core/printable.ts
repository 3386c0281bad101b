/** Text from elsewhere on a terminal: nothing in it may act there. */

/** What a terminal shows and does not act on. Marks of writing direction are none of it. */
const shown = '\\p{L}\\p{M}\\p{N}\\p{P}\\p{S} ';
const onlyShown = new RegExp(`^[${shown}]*$`, 'u');
const notShown = new RegExp(`[^${shown}]`, 'gu');
const notShownNorBreak = new RegExp(`[^${shown}\\n\\t]`, 'gu');

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

/** A message, with its line breaks, in which everything that a terminal would act on is escaped. */
export function printableText(text: string): string {
  return text.replaceAll(notShownNorBreak, escapeUnits);
}
