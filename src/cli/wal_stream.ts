/** The command scripts/wal_stream.ts: the stream itself, how it is, its take-over, its end. */

import { exitStatus } from '../core/errors.ts';
import { printable } from '../core/printable.ts';
import { formatBytes, formatCount } from '../core/units.ts';
import type { RepositoryContext } from '../operations/context.ts';
import { streamWal } from '../operations/streaming/wal_stream.ts';
import {
  dropStream,
  readStreamStatus,
  type StreamStatus,
  takeStreamOver,
} from '../operations/streaming/wal_stream_status.ts';
import type { CommandResult, Invocation } from './command.ts';
import { confirm } from './confirm.ts';
import { needRepository } from './open_context.ts';

function slotLines({ slotName, slot }: StreamStatus): string[] {
  if (slot === null) return [`slot ${slotName}: there is none`];
  const { isActive, walStatus, restartLsn, lagBytes, safeBytes } = slot;
  const used = isActive ? 'in use' : 'not in use';
  return [
    `slot ${slotName}: ${used}, wal_status ${walStatus ?? 'unknown'}`,
    `last flushed here: ${restartLsn ?? 'nothing yet'}`,
    ...(lagBytes === null ? [] : [`behind the server: ${formatBytes(lagBytes)}`]),
    ...(safeBytes === null ? [] : [`may fall behind by: ${formatBytes(safeBytes)} more`]),
  ];
}

function statusLines(status: StreamStatus): string[] {
  const { claim, obstacle, keepBytesMax, unfinished, complete } = status;
  const runs = status.isRunning ? 'wal_stream.ts runs' : 'no wal_stream.ts runs';
  const since =
    claim === null ? 'nobody streams it' : `${printable(claim.server)} since ${claim.claimed_at}`;
  return [
    `stream of ${status.server}: ${status.isWorking ? 'works' : 'DOES NOT WORK'}`,
    `cluster ${printable(status.cluster)}: ${runs}`,
    `claim: ${since}`,
    ...(obstacle === null ? [] : [`refused: ${obstacle.message}`]),
    ...slotLines(status),
    `the server's WAL ends at: ${status.flushedLsn}`,
    `max_slot_wal_keep_size: ${keepBytesMax === null ? 'no limit' : formatBytes(keepBytesMax)}`,
    ...unfinished.map((name) => `unfinished: ${name}`),
    ...(complete.length === 0
      ? []
      : [`complete, kept: ${formatCount(complete.length, 'segment')}`]),
    ...status.warnings.map(({ message }) => `warning: ${message}`),
  ];
}

async function tellStatus(
  context: RepositoryContext,
  slot: string | undefined,
): Promise<CommandResult> {
  const status = await readStreamStatus(context, slot);
  const { claim, obstacle, warnings } = status;
  const json = {
    working: status.isWorking,
    running: status.isRunning,
    cluster: status.cluster,
    server: status.server,
    claim,
    refused: obstacle?.message ?? null,
    slot: {
      name: status.slotName,
      exists: status.slot !== null,
      active: status.slot?.isActive ?? false,
      wal_status: status.slot?.walStatus ?? null,
      safe_wal_bytes: status.slot?.safeBytes ?? null,
      flushed_lsn: status.slot?.restartLsn ?? null,
      lag_bytes: status.slot?.lagBytes ?? null,
    },
    server_lsn: status.flushedLsn,
    max_slot_wal_keep_bytes: status.keepBytesMax,
    unfinished: status.unfinished,
    complete: status.complete,
    warnings: warnings.map(({ message }) => message),
  };
  const text = statusLines(status).map((line) => `${line}\n`);
  const code = status.isWorking ? exitStatus.done : exitStatus.failed;
  return { status: code, json, text: text.join('') };
}

async function takeOver(invocation: Invocation, context: RepositoryContext) {
  const { flags, world } = invocation;
  const slot = flags.slot as string | undefined;
  if (flags.yes !== true) {
    const { server, claim, slotName } = await readStreamStatus(context, slot);
    const before = claim === null ? 'nobody' : printable(claim.server);
    const plan = [`gives the stream of ${before} to ${server}, slot ${slotName}`];
    const question = 'Take the stream over?';
    await confirm({ plan, question, answer: 'yes', flag: '--yes', world });
  }
  const claim = await takeStreamOver(context, slot);
  context.log.step(`the stream is claimed by ${printable(claim.server)}, slot ${claim.slot}`);
  context.log.step('start it: scripts/wal_stream.ts');
  return { status: exitStatus.done, json: { claim } };
}

async function drop(invocation: Invocation, context: RepositoryContext): Promise<CommandResult> {
  const { flags, world } = invocation;
  const slot = flags.slot as string | undefined;
  if (flags.yes !== true) {
    const { server, slotName } = await readStreamStatus(context, slot);
    const plan = [`drops the replication slot ${slotName} of ${server}; what was streamed stays`];
    const question = 'Drop the slot?';
    await confirm({ plan, question, answer: 'yes', flag: '--yes', world });
  }
  const { server, slotName, slot: dropped } = await dropStream(context, slot);
  context.log.step(
    dropped === null
      ? `${server} has no slot ${slotName}`
      : `dropped the slot ${slotName} of ${server}`,
  );
  return { status: exitStatus.done, json: { slot: slotName, dropped: dropped !== null } };
}

/** Runs the command. `--status` ends with 3 where the stream does not work. */
export async function walStreamCommand(invocation: Invocation): Promise<CommandResult> {
  const { flags } = invocation;
  const context = needRepository(invocation.context);
  const slot = flags.slot as string | undefined;
  if (flags.status === true) return tellStatus(context, slot);
  if (flags['take-over'] === true) return takeOver(invocation, context);
  if (flags['drop-slot'] === true) return drop(invocation, context);
  const result = await streamWal(context, { slot, once: flags.once === true });
  const files = formatCount(result.carried, 'file');
  const reached = result.received_lsn === null ? '' : `, everything up to ${result.received_lsn}`;
  context.log.step(`the stream has ended: ${files} put into the archive${reached}`);
  return { status: exitStatus.done, json: result };
}
