/** pg_verifybackup: PostgreSQL's own check of an unpacked base backup, in its words. */

/** So many of its sentences are told. */
const findingsMax = 20;

/** What it has found, in its own words; at most 20 sentences. */
export function verifyBackupFindings(stderr: string): string[] {
  const said = /^(?:\S*\/)?(?:pg_verifybackup|pg_waldump): (?:error: )?(.*)$/;
  return stderr
    .split('\n')
    .flatMap((line) => said.exec(line)?.[1] ?? [])
    .slice(0, findingsMax);
}
