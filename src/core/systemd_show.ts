/** Reads what `systemctl show` prints. Pure. */

/** The properties of one unit. */
export type UnitProperties = Readonly<Record<string, string>>;

/**
 * Units as `systemctl show UNIT… --property=…` prints them: lines of `Name=value`, an empty line
 * between two units. A value holds no line break there.
 */
export function parseUnits(text: string): UnitProperties[] {
  return text
    .split(/\n{2,}/)
    .map((block) => {
      const lines = block.split('\n').filter((line) => line.includes('='));
      return Object.fromEntries(
        lines.map((line): [string, string] => {
          const at = line.indexOf('=');
          return [line.slice(0, at), line.slice(at + 1)];
        }),
      );
    })
    .filter((unit) => Object.keys(unit).length > 0);
}

/**
 * A time as `systemctl show` prints it with TZ=UTC (`Sun 2026-11-22 02:03:11 UTC`), as ISO 8601;
 * `null` for `n/a`, for nothing, and for another form.
 */
export function parseUnitTime(text: string | undefined): string | null {
  const match = /^\w{3} (\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d) UTC$/.exec(text ?? '');
  return match === null ? null : `${match[1]}T${match[2]}Z`;
}
