import { describe, expect, it } from 'vitest';
import {
  alertFacts,
  alertMark,
  alertPlace,
  oneLine,
  runbookLink,
  severalLines,
} from '../../../src/core/alert_words.ts';
import { sampleAlert } from '../../support/sample_alert.ts';

const alert = sampleAlert({
  details: { exit_status: 3, runbook: 'https://wiki.example.com/a#backup', hint: null },
});
describe('what an alert tells beside its message', () => {
  it('has no empty values, and the link only where no browser would open it', () => {
    const names = alertFacts(alert).map(([name]) => name);
    expect(names).toEqual(['database', 'cluster', 'host', 'priority', 'at', 'exit status', 'key']);
    const local = { ...alert, details: { runbook: '/opt/holdfast/docs/alerts.md' } };
    expect(runbookLink(local)).toBeNull();
    expect(alertFacts(local)).toContainEqual(['runbook', '/opt/holdfast/docs/alerts.md']);
    expect(runbookLink({ ...alert, details: { runbook: 'javascript:alert(1)' } })).toBeNull();
  });

  it('fits on one line', () => {
    expect(oneLine(' a\n\tb  c ')).toBe('a b c');
    expect(oneLine('abcdef', 4)).toBe('abc…');
  });

  it('says where it is, and that it is over', () => {
    expect(alertPlace(alert)).toBe('"app" on db1');
    expect(alertPlace({ ...alert, database: null })).toBe('"main" on db1');
    expect(alertPlace({ ...alert, database: null, cluster: null })).toBe('db1');
    expect(alertMark(alert)).toBe('critical');
    expect(alertMark({ ...alert, status: 'resolved' })).toBe('resolved');
  });

  it('keeps the lines of a message, and nothing that acts on a terminal', () => {
    expect(severalLines(' a\r\nb\u001b[31m\n')).toBe('a\nb\\u001b[31m');
    expect(severalLines('x'.repeat(10_000))).toHaveLength(8_000);
  });
});
