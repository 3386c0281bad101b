import { describe, expect, it } from 'vitest';
import { clusterSettings } from '../../../src/postgres/cluster_server.ts';

const base = { socketDirectory: '/tmp/x', port: 5432, tcp: false, fast: false, settings: {} };

describe('the settings of a scratch cluster', () => {
  it('listen on no network, and keep their safety unless told', () => {
    const text = clusterSettings(base);
    expect(text).toContain("listen_addresses = ''\n");
    expect(text).not.toContain('fsync');
    expect(clusterSettings({ ...base, fast: true })).toContain("fsync = 'off'\n");
    expect(clusterSettings({ ...base, tcp: true })).toContain("listen_addresses = '127.0.0.1'\n");
  });

  it('quote what a path or a value may hold', () => {
    const text = clusterSettings({
      ...base,
      socketDirectory: '/tmp/a, b"c',
      settings: { archive_command: "cp '%p' C:\\x", port: '6000' },
    });
    expect(text).toContain(`unix_socket_directories = '"/tmp/a, b""c"'\n`);
    expect(text).toContain(`archive_command = 'cp ''%p'' C:\\\\x'\n`);
    expect(text).toContain("port = '6000'\n");
  });
});
