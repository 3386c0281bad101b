import { describe, expect, it } from 'vitest';
import { sealed, unsealed } from '../../../src/core/sealed.ts';

describe('a sealed body', () => {
  it('comes back as it was, empty or with line breaks in it', () => {
    for (const text of ['', '{"a": 1}', 'one\ntwo\n']) {
      expect(unsealed(sealed(Buffer.from(text)))?.toString()).toBe(text);
    }
  });

  it('is not believed with a bit flipped anywhere, cut, or without a seal', () => {
    const whole = sealed(Buffer.from('{"a": 1}'));
    for (let at = 0; at < whole.length; at += 1) {
      const other = Buffer.from(whole);
      other.writeUInt8(other.readUInt8(at) ^ 1, at);
      expect(unsealed(other), `byte ${at}`).toBeNull();
      expect(unsealed(whole.subarray(0, at)), `cut at ${at}`).toBeNull();
    }
    expect(unsealed(Buffer.from('{"a": 1}'))).toBeNull();
  });
});
