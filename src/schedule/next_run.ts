/** When a job runs next. */

/**
 * The next moment of five cron fields; `null` where none comes within the next years, or where
 * they say no time (a line that somebody has edited by hand).
 *
 * @param when as parseCronFields gives it
 * @param after the moment itself does not count
 * @param timeZone whose time of day is meant
 */
export async function nextRun(when: string, after: Date, timeZone: string): Promise<Date | null> {
  const { CronExpressionParser } = await import('cron-parser');
  try {
    return CronExpressionParser.parse(when, { currentDate: after, tz: timeZone }).next().toDate();
  } catch {
    // It is no time, or none that comes: both end in an error there.
    return null;
  }
}
