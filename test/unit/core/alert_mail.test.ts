import { describe, expect, it } from 'vitest';
import { alertMail } from '../../../src/core/alert_mail.ts';
import { sampleAlert } from '../../support/sample_alert.ts';

const alert = sampleAlert({
  details: { exit_status: 3, runbook: 'https://wiki.example.com/a#backup', hint: null },
});
const from = 'Holdfast <holdfast@Backup.Example.com>';

describe('the mail of an alert', () => {
  it('says in one line how bad it is, what it is and where', () => {
    const { subject } = alertMail(alert, from);
    expect(subject).toBe('[critical] the backup of "app" failed ("app" on db1)');
    expect(alertMail({ ...alert, status: 'resolved' }, from).subject).toMatch(/^\[resolved\] /);
  });

  it('has a text with the message, what to do and what is known', () => {
    const { text } = alertMail(alert, from);
    expect(text).toContain('there is no space left\nfree some\n');
    expect(text).toContain('What to do: https://wiki.example.com/a#backup\n');
    expect(text).toMatch(/^exit status: 3$/m);
    expect(text).not.toContain('hint');
  });

  it('is the same mail when it is sent again, and of one thread with those of its trouble', () => {
    const first = alertMail(alert, from);
    expect(first.messageId).toMatch(/^<holdfast\.alert\.[0-9a-f]{32}@backup\.example\.com>$/);
    expect(alertMail(alert, from).messageId).toBe(first.messageId);
    const reminder = alertMail({ ...alert, id: 'a2' }, from);
    expect(reminder.messageId).not.toBe(first.messageId);
    expect(reminder.thread).toBe(first.thread);
    expect(alertMail({ ...alert, key: 'backup/db1:5432/b' }, from).thread).not.toBe(first.thread);
  });

  it('is urgent while it matters', () => {
    expect(alertMail(alert, from).isUrgent).toBe(true);
    expect(alertMail({ ...alert, status: 'resolved' }, from).isUrgent).toBe(false);
    expect(alertMail({ ...alert, priority: 'medium' }, from).isUrgent).toBe(false);
  });

  it('lets no name act in a header, in HTML or on a terminal', () => {
    const name = 'a\r\nBcc: x@example.com\n<script>"\'&\u001b[31m\u202e';
    const { subject, text, html } = alertMail({ ...alert, title: name, database: name }, from);
    expect(subject).not.toMatch(/\p{C}/u);
    expect(subject).toContain('a Bcc: x@example.com <script>');
    expect(text.replaceAll('\n', '')).not.toMatch(/\p{C}/u);
    expect(text.split('\n').filter((line) => line.startsWith('Bcc'))).toEqual([]);
    expect(html.replaceAll('\n', '')).not.toMatch(/<script>|\p{C}/u);
    expect(html).toContain('&lt;script&gt;&quot;&#39;&amp;');
  });

  it('keeps to a length, whatever it quotes, and cuts through no character', () => {
    const long = '🐘'.repeat(20_000);
    const mail = alertMail({ ...alert, title: long, message: long, database: long }, from);
    expect(Array.from(mail.subject).length).toBeLessThanOrEqual(300);
    expect(mail.text.length).toBeLessThan(30_000);
    expect(mail.text.isWellFormed()).toBe(true);
  });

  it('has a domain in its names also where the sender has none that may be there', () => {
    expect(alertMail(alert, 'holdfast').messageId).toMatch(/@holdfast\.invalid>$/);
  });
});
