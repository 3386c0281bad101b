import { describe, expect, it } from 'vitest';
import { lastSettings, readConfLine, withoutInherited } from '../../../src/postgres/conf_lines.ts';

describe('a line of a configuration', () => {
  it.each([
    ['port = 5433 # the second', 'port', '5433'],
    ['port 5433', 'port', '5433'],
    ["Work_Mem='4MB'", 'work_mem', '4MB'],
    ["a.b_1 = 'it''s \\'x\\' \\101 \\\\ \\n# no comment'", 'a.b_1', "it's 'x' A \\ \n# no comment"],
    ["include 'conf.d/x.conf'", 'include', 'conf.d/x.conf'],
    ["empty = ''", 'empty', ''],
  ])('%s', (line, name, value) => {
    expect(readConfLine(line)).toEqual({ name, value });
  });

  it.each(['# port = 1', '', '  ', "= 'x'", 'port', "port = 'cut"])('%s sets nothing', (line) => {
    expect(readConfLine(line)).toBeNull();
  });

  it('counts when it is the last about a setting', () => {
    expect(lastSettings('port = 1\nPORT = 2\n')).toEqual(new Map([['port', '2']]));
  });
});

describe('what an original had of a recovery or a standby', () => {
  it('is taken out, and nothing else', () => {
    const kept = "work_mem = '4MB'\nmy.recovery_target_x = '1'\n# recovery_target_time\n";
    const inherited = [
      "recovery_target_time = 'x'",
      "  RECOVERY_TARGET='immediate'",
      "restore_command 'cp x'",
      "recovery_end_command = ''",
      "archive_cleanup_command = 'rm'",
      "recovery_min_apply_delay = '1h'",
      "primary_conninfo = 'host=x'",
      "primary_slot_name = 'x'",
      "promote_trigger_file = '/x'",
      "synchronous_standby_names = '*'",
    ];
    expect(withoutInherited(`${inherited.join('\n')}\n${kept}`)).toBe(kept);
  });
});
