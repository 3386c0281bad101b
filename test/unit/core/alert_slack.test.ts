import { describe, expect, it } from 'vitest';
import type { Alert } from '../../../src/core/alert.ts';
import { slackMessage } from '../../../src/core/alert_slack.ts';
import { sampleAlert } from '../../support/sample_alert.ts';

const alert = sampleAlert({
  details: { exit_status: 3, runbook: 'https://wiki.example.com/a?b=1&c=2#backup' },
});

interface Message {
  readonly text: string;
  readonly mrkdwn: boolean;
  readonly attachments: readonly {
    readonly color: string;
    readonly title: string;
    readonly text: string;
    readonly ts: number;
    readonly fields: readonly { readonly title: string; readonly value: string }[];
  }[];
}

function made(change: Partial<Alert> = {}) {
  const message = slackMessage({ ...alert, ...change }) as Message;
  const [attachment] = message.attachments;
  if (attachment === undefined) throw new Error('no attachment');
  return { message, attachment };
}

describe('an alert in a chat', () => {
  it('says how bad it is, what, where, when, and what to do', () => {
    const { message, attachment } = made();
    expect(message.text).toBe('[critical] the backup of "app" failed');
    expect(attachment.title).toBe('"app" on db1');
    expect(attachment.text).toBe('there is no space left\nfree some');
    expect(attachment.ts).toBe(Date.UTC(2026, 10, 21, 2) / 1000);
    expect(attachment.fields).toEqual(
      expect.arrayContaining([
        {
          title: 'what to do',
          value: '<https://wiki.example.com/a?b=1&amp;c=2#backup>',
          short: false,
        },
        { title: 'exit status', value: '3', short: true },
      ]),
    );
  });

  it('has a colour for each priority, and another when it is over', () => {
    const colours = (['info', 'medium', 'high', 'critical'] as const).map(
      (priority) => made({ priority }).attachment.color,
    );
    const over = made({ status: 'resolved' });
    expect(new Set([...colours, over.attachment.color]).size).toBe(5);
    expect(over.message.text).toMatch(/^\[resolved\]/);
  });

  it('calls nobody and formats nothing, whatever a database is called', () => {
    const name = '<!channel> <@U1> *b* & <https://evil.example.com|click>';
    const { message } = made({ title: name, message: name, database: name, key: name });
    expect(message.mrkdwn).toBe(false);
    const all = JSON.stringify(message);
    expect(all).not.toMatch(/<!|<@|<https:\/\/evil/);
    expect(all).toContain('&lt;!channel&gt; &lt;@U1&gt; *b* &amp; &lt;https');
  });

  it('keeps to a length', () => {
    const long = 'é'.repeat(100_000);
    const details = Object.fromEntries(Array.from({ length: 200 }, (_, n) => [`n${n}`, long]));
    const { message } = made({ title: long, message: long, database: long, details });
    expect(JSON.stringify(message).length).toBeLessThan(30_000);
  });
});
