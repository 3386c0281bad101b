import { describe, expect, it } from 'vitest';
import { isArchiving, planArchiving, type SettingFact } from '../../../src/core/archiving.ts';

const command = "'/b/hooks/main/wal_push' %p %f || exit 1";

/** A server as initdb leaves it, with changes. */
function server(changes: Readonly<Record<string, Partial<SettingFact>>> = {}): SettingFact[] {
  const defaults = {
    wal_level: ['replica', 'replica'],
    archive_mode: ['off', 'off'],
    archive_command: ['(disabled)', ''],
    archive_library: ['', ''],
    summarize_wal: ['off', 'off'],
  };
  return Object.entries(defaults).map(([name, [current = '', coming = '']]) => ({
    name,
    current,
    coming,
    own: null,
    isFixed: false,
    ...changes[name],
  }));
}

const done = {
  archive_mode: { current: 'on', coming: 'on' },
  archive_command: { current: command, coming: command },
  summarize_wal: { current: 'on', coming: 'on' },
};

describe('planning how the WAL is archived', () => {
  it('sets what is missing on a fresh server, and wants a restart for archive_mode', () => {
    const plan = planArchiving(server(), command);
    expect(plan.changes).toEqual([
      { name: 'archive_mode', value: 'on' },
      { name: 'archive_command', value: command },
      { name: 'summarize_wal', value: 'on' },
    ]);
    expect(plan.restart).toEqual(['archive_mode']);
    expect(plan.foreign).toEqual([]);
    expect(isArchiving(server(), command)).toBe(false);
  });

  it('sets nothing that is so already, in whatever words', () => {
    const facts = server({
      ...done,
      wal_level: { current: 'logical', coming: 'Logical' },
      archive_mode: { current: 'always', coming: 'ALWAYS' },
      summarize_wal: { current: 'on', coming: 'yes' },
    });
    const plan = planArchiving(facts, command);
    expect(plan).toEqual({ changes: [], foreign: [], fixed: [], restart: [] });
    expect(isArchiving(facts, command)).toBe(true);
  });

  it('raises a minimal wal_level and never lowers one', () => {
    const facts = server({ ...done, wal_level: { current: 'minimal', coming: 'minimal' } });
    const plan = planArchiving(facts, command);
    expect(plan.changes).toEqual([{ name: 'wal_level', value: 'replica' }]);
    expect(plan.restart).toEqual(['wal_level']);
  });

  it('still wants the restart where everything is set and nobody has restarted', () => {
    const facts = server({ ...done, archive_mode: { current: 'off', coming: 'on' } });
    expect(planArchiving(facts, command)).toMatchObject({ changes: [], restart: ['archive_mode'] });
    expect(isArchiving(facts, command)).toBe(false);
  });

  it('names what archives the WAL already, by a command or by a library', () => {
    const facts = server({
      archive_command: { current: 'cp %p /x/%f', coming: 'cp %p /x/%f' },
      archive_library: { current: 'basic_archive', coming: 'basic_archive' },
    });
    const plan = planArchiving(facts, command);
    expect(plan.foreign.map(({ name }) => name)).toEqual(['archive_command', 'archive_library']);
    expect(plan.changes).toContainEqual({ name: 'archive_library', value: '' });
  });

  it('names what the command line of the server holds at a wrong value', () => {
    const facts = server({
      ...done,
      archive_mode: { current: 'off', coming: 'off', isFixed: true },
    });
    expect(planArchiving(facts, command).fixed.map(({ name }) => name)).toEqual(['archive_mode']);
    expect(planArchiving(server(done), command).fixed).toEqual([]);
  });

  it('archives without the summaries of WAL, which only incremental base backups need', () => {
    const facts = server({ ...done, summarize_wal: { current: 'off', coming: 'off' } });
    expect(isArchiving(facts, command)).toBe(true);
    expect(planArchiving(facts, command).changes).toHaveLength(1);
  });
});
