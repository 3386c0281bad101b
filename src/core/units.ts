/** Sizes and durations as people read them. */

const byteUnits = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'] as const;

/** `1234567` → `1.2 MB`: powers of 1000, as disks are sold and `ls --si` counts. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < byteUnits.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const digits = unit > 0 && value < 99.95 ? 1 : 0;
  return `${value.toFixed(digits)} ${byteUnits[unit]}`;
}

/** `4384.2` → `1 h 13 min`; `3.24` → `3.2 s`. */
export function formatDuration(seconds: number): string {
  if (seconds < 60) return `${seconds.toFixed(seconds < 9.95 ? 1 : 0)} s`;
  const minutes = Math.round(seconds / 60);
  if (seconds < 3570) {
    const whole = Math.floor(seconds / 60);
    const rest = Math.round(seconds - whole * 60);
    return rest === 60 ? `${whole + 1} min` : `${whole} min ${rest} s`;
  }
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** An age in words, for tables: `3 h`, `2 days`. */
export function formatAge(seconds: number): string {
  if (seconds < 0) return 'in the future';
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min`;
  if (seconds < 36 * 3600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

/** `(1, 'table')` → `1 table`; `(2, 'table')` → `2 tables`. For nouns with a plural in `s`. */
export function formatCount(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
