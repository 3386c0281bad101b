import { describe, expect, it } from 'vitest';
import type { Alert } from '../../../src/core/alert.ts';
import {
  type AlertMemory,
  emptyMemory,
  givenUp,
  nextFor,
  parseAlertMemory,
  waitingMax,
  withAlerts,
  withoutDelivered,
  withoutStrangers,
} from '../../../src/core/alert_memory.ts';
import { documentBytes } from '../../../src/core/validate.ts';

function alert(id: string, priority: Alert['priority'] = 'high'): Alert {
  return {
    format: 1,
    source: 'holdfast',
    id,
    event: 'backup',
    priority,
    status: 'firing',
    title: 'a title',
    message: 'a message',
    cluster: null,
    database: 'a "name"\n$(touch x)',
    host: 'db1',
    timestamp: '2026-11-21T02:00:00.000Z',
    key: 'backup/app',
    details: {},
  };
}

const endpoint = { name: 'endpoint', minPriority: 'info' } as const;
const pager = { name: 'pager', minPriority: 'critical' } as const;

function idsOf({ outbox }: AlertMemory): string[] {
  return outbox.map(({ alert: { id }, channels }) => `${id} ${channels.join('+')}`);
}

describe('alerts that wait', () => {
  const memory = withAlerts(
    emptyMemory,
    [alert('1'), alert('2', 'critical'), alert('3', 'info')],
    [endpoint, pager],
  );

  it('wait for each channel that wants their priority, oldest first', () => {
    expect(idsOf(memory)).toEqual(['1 endpoint', '2 endpoint+pager', '3 endpoint']);
    expect(nextFor(memory, 'endpoint')?.id).toBe('1');
    expect(nextFor(memory, 'endpoint', '1')?.id).toBe('2');
    expect(nextFor(memory, 'pager')?.id).toBe('2');
    expect(nextFor(memory, 'mail')).toBeNull();
  });

  it('are struck out channel by channel, and forgotten after the last', () => {
    const first = withoutDelivered(memory, '2', 'pager');
    expect(idsOf(first)).toEqual(['1 endpoint', '2 endpoint', '3 endpoint']);
    expect(idsOf(withoutDelivered(first, '2', 'endpoint'))).toEqual(['1 endpoint', '3 endpoint']);
  });

  it('wait for no channel that is set up no more', () => {
    expect(idsOf(withoutStrangers(memory, ['pager']))).toEqual(['2 pager']);
  });

  it('are dropped where a channel never takes them, and counted', () => {
    const less = givenUp(memory, '1', 'endpoint');
    expect(idsOf(less)).toEqual(['2 endpoint+pager', '3 endpoint']);
    expect(less.dropped).toBe(1);
  });

  it('are so many and no more: the oldest go, and are counted', () => {
    const many = Array.from({ length: waitingMax + 2 }, (_, index) => alert(String(index)));
    const full = withAlerts(memory, many, [endpoint]);
    expect(full.outbox).toHaveLength(waitingMax);
    expect(full.outbox[0]?.alert.id).toBe('2');
    expect(full.dropped).toBe(5);
  });

  it('nobody wants are not kept', () => {
    expect(withAlerts(emptyMemory, [alert('1')], [pager]).outbox).toEqual([]);
  });
});

describe('the document', () => {
  it('is read as it was written', () => {
    const memory = withAlerts(emptyMemory, [alert('1')], [endpoint]);
    expect(parseAlertMemory(documentBytes(memory))).toEqual(memory);
  });

  it.each([
    ['half of it', documentBytes(emptyMemory).subarray(0, 20)],
    ['another one', documentBytes({ ...emptyMemory, troubles: [{ key: 'x' }] })],
    ['one of a newer version', documentBytes({ ...emptyMemory, format: 2 })],
  ])('that is %s is refused', (_, bytes) => {
    expect(() => parseAlertMemory(bytes)).toThrow(
      expect.objectContaining({ code: 'DAMAGED' }) as Error,
    );
  });
});
