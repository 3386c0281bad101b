/** `--keep-going`: the database that is left unswapped, for a person to decide about. */

import { HoldfastError, toHoldfastError } from '../../core/errors.ts';
import { printable } from '../../core/printable.ts';
import { quoteIdentifier, quoteLiteral, shellQuote, shownIdentifier } from '../../core/quote.ts';
import { formatCount } from '../../core/units.ts';
import type { DatabaseName } from '../../postgres/admin.ts';
import { execute } from '../../postgres/query.ts';
import type { CollectedErrors } from '../../postgres/restore_errors.ts';
import { restoreProperties } from './restore_swap.ts';
import type { Trouble } from './restore_trouble.ts';
import type { VerifiedSource } from './restore_verify.ts';
import type { RestoreWork } from './restore_work.ts';

/** So many errors are shown; the log has all of them. */
const errorsShownMax = 20;

/** A damaged source that is restored all the same, as far as it can be read. */
export function unverified(work: RestoreWork): VerifiedSource {
  const { plainBytes } = work.request.source;
  return {
    plainBytes: plainBytes ?? 0,
    reading: null,
    sql: null,
    file: null,
    proof: Promise.resolve(),
    remove: () => Promise.resolve(),
  };
}

/** The comment of a database that was left: no restore takes it for one of its own and drops it. */
function leftComment(work: RestoreWork, trouble: Trouble): string {
  const { source, targetDatabase } = work.request;
  const what = trouble.damage === null ? formatCount(trouble.errors.count, 'error') : 'damage';
  return (
    `holdfast: left by --keep-going, from ${printable(source.description)} for ` +
    `${JSON.stringify(targetDatabase)}, with ${what}`
  );
}

/** What to type next, each a word for it and the command. */
function nextSteps(work: RestoreWork, name: string): readonly (readonly [string, string])[] {
  const { old, request, beforeName } = work;
  const [target, left] = [shownIdentifier(request.targetDatabase), shownIdentifier(name)];
  const rename = `ALTER DATABASE ${left} RENAME TO ${target};`;
  const aside = `ALTER DATABASE ${target} RENAME TO ${shownIdentifier(beforeName)};`;
  const both = `BEGIN; ${aside} ${rename} COMMIT;`;
  return [
    ['look into it', `psql --dbname=${printable(shellQuote(name))}`],
    ['take it as it is', old === null ? rename : both],
    ['drop it', `DROP DATABASE ${left};`],
  ];
}

/** The error that the restore ends with. */
function troubleError(name: string, trouble: Trouble, details: object): HoldfastError {
  const { damage, errors, difference } = trouble;
  const left = `what could be restored is in ${JSON.stringify(name)}, nothing was swapped`;
  const told = errors.count > 0 ? 'RESTORE_FAILED' : difference?.code;
  const code = damage?.code ?? told ?? 'DIFFERENT';
  const counted = `${formatCount(errors.count, 'error')} of pg_restore`;
  const facts = [
    ...(damage === null ? [] : [damage.message]),
    ...(errors.count === 0 ? [] : [counted]),
    ...(difference === null ? [] : [difference.message]),
  ];
  return new HoldfastError(code, `${facts.join('; ')}; ${left}`, {
    hint: 'Look into it, then take it as it is or drop it: the lines above say how.',
    details: { ...details },
    cause: damage ?? difference ?? undefined,
  });
}

function tellErrors(work: RestoreWork, { errors, count }: CollectedErrors): void {
  const { log } = work.context;
  for (const { command, message } of errors.slice(0, errorsShownMax)) {
    log.warn(command === null ? message : `${command}: ${message}`);
  }
  if (count > errorsShownMax) {
    log.warn(`${count - errorsShownMax} more errors are in the log of this run`);
  }
}

/**
 * Leaves the database under its temporary name, with the owner, the privileges and the settings of
 * the original: to take it as it is, a rename is all that is left. No later restore drops it.
 *
 * @param warnings of the steps before
 * @returns the error to end with: RESTORE_FAILED, DAMAGED or DIFFERENT
 */
export async function leaveUnswapped(
  work: RestoreWork,
  database: DatabaseName,
  trouble: Trouble,
  warnings: readonly string[],
): Promise<HoldfastError> {
  const { admin, context, old, request } = work;
  const { name } = database;
  for (const text of warnings) context.log.warn(text);
  tellErrors(work, trouble.errors);
  try {
    const comment = quoteLiteral(leftComment(work, trouble));
    await execute(admin, `COMMENT ON DATABASE ${quoteIdentifier(name)} IS ${comment}`);
    for (const text of await restoreProperties(work, name)) context.log.warn(text);
  } catch (error) {
    const { message } = toHoldfastError(error);
    context.log.warn(`the next restore may drop ${JSON.stringify(name)}: ${message}`);
  }
  if (old !== null) {
    context.log.warn(`database ${JSON.stringify(request.targetDatabase)} is untouched`);
  }
  const steps = nextSteps(work, name);
  for (const [what, command] of steps) context.log.warn(`to ${what}:  ${command}`);
  return troubleError(name, trouble, {
    left: name,
    damaged: trouble.damage !== null,
    errors: trouble.errors.count,
    first_errors: trouble.errors.errors,
    next: Object.fromEntries(steps.map(([what, command]) => [what.replaceAll(' ', '_'), command])),
  });
}
