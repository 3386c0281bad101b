/**
 * Integration tests that run on this machine's version alone, each with the reason why another one
 * could not show more. Whatever is new runs on all versions until it stands here.
 */
export const onceIsEnough: Readonly<Record<string, string>> = {
  'test/integration/backup_several.test.ts':
    'who gets which exit status, lock and row of status.json is decided before a server is asked',
  'test/integration/bad_input.test.ts':
    'flags, names and files are refused by our own checks, which see no server or only its name',
  'test/integration/list_command.test.ts': 'prints what stands in manifests',
  'test/integration/list_leftovers.test.ts':
    'which servers are asked and what is said without them; what a server answers: leftovers.test.ts',
  'test/integration/restore_estimate.test.ts': 'arithmetic on the records of earlier restores',
  'test/integration/runbook.test.ts':
    'holds the page to its word; each command of it runs on all versions in its own tests',
  'test/integration/runbook_recovery.test.ts':
    'holds the page to its word; restore_pitr*.test.ts and pitr_*.test.ts run the commands',
};
