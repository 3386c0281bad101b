/** A server as users have it, in a container: systemd as the first process, on a bare Debian 12. */

import { GenericContainer, type StartedTestContainer } from 'testcontainers';
import { checkout, labImage, mountedCheckout } from './lab.ts';

/**
 * As on a machine, where systemd does it by itself, but not inside of a container: without it the
 * files that LoadCredential= hands over never arrive.
 */
const shareMounts = `[Unit]
DefaultDependencies=no
Before=sysinit.target
[Service]
Type=oneshot
ExecStart=/bin/mount --make-rshared /
[Install]
WantedBy=sysinit.target
`;

/** What systemd needs of an engine to run as the first process (its CONTAINER_INTERFACE). */
class ServerContainer extends GenericContainer {
  constructor(image: string) {
    super(image);
    Object.assign(this.hostConfig, { CgroupnsMode: 'host' });
    // The signal that asks systemd to shut the machine down.
    this.createOpts.StopSignal = 'SIGRTMIN+3';
    this.withNetworkMode('none')
      .withAddedCapabilities('SYS_ADMIN')
      .withSecurityOpt('seccomp=unconfined', 'apparmor=unconfined')
      .withTmpFs({ '/run': 'rw,nosuid,nodev', '/run/lock': 'rw,nosuid,nodev' })
      .withBindMounts([
        { source: '/sys/fs/cgroup', target: '/sys/fs/cgroup', mode: 'rw' },
        { source: checkout, target: mountedCheckout, mode: 'ro' },
      ])
      .withCopyContentToContainer([
        { content: shareMounts, target: '/etc/systemd/system/share-mounts.service' },
      ])
      .withCommand(['/sbin/init']);
  }
}

/** A server that runs. */
export interface Server {
  /** Runs a script as root in bash, for two minutes at most; whatever its status. */
  sh(script: string): Promise<{ stdout: string; stderr: string; output: string; exitCode: number }>;
  /** The same, for a script that has to end well: its standard output. */
  ok(script: string): Promise<string>;
  /** Shuts it down and starts it again. */
  reboot(): Promise<void>;
  stop(): Promise<void>;
}

/** Waits until a condition holds that nobody tells of. */
export async function until(condition: () => Promise<boolean>, seconds = 90): Promise<void> {
  const end = Date.now() + seconds * 1000;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`it did not come true in ${seconds} s: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

/** Starts a server, and waits until it has booted. */
export async function startServer(): Promise<Server> {
  const container: StartedTestContainer = await new ServerContainer(
    labImage('HOLDFAST_IMAGE_SERVER'),
  ).start();
  const sh: Server['sh'] = (script) => container.exec(['timeout', '120', 'bash', '-c', script]);
  const ok: Server['ok'] = async (script) => {
    const { stdout, output, exitCode } = await sh(script);
    if (exitCode !== 0) throw new Error(`${script}\nended with ${exitCode}:\n${output}`);
    return stdout;
  };
  const booted = () =>
    until(async () => {
      const { stdout } = await sh('timeout 60 systemctl is-system-running --wait');
      return /^(?:running|degraded)$/.test(stdout.trim());
    });
  await booted();
  await ok('systemctl enable --now share-mounts');
  return {
    sh,
    ok,
    async reboot() {
      await container.restart({ timeout: 60_000 });
      await booted();
    },
    async stop() {
      await container.stop({ timeout: 1000 });
    },
  };
}
