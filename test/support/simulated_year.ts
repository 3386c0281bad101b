/**
 * A server that is looked after for a year: the schedule says when what runs, backups are real
 * files in two stores, retention, copies, monitor and alerts are the real ones. Only pg_dump, the
 * size of the disk and the passing of time are made up.
 */

import { rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createCatalog } from '../../src/catalog/catalog.ts';
import { beginJob, type Job } from '../../src/catalog/jobs.ts';
import { databaseFolder } from '../../src/catalog/repository.ts';
import { updateStatus } from '../../src/catalog/status.ts';
import type { Alert } from '../../src/core/alert.ts';
import { HoldfastError } from '../../src/core/errors.ts';
import { healthStatus } from '../../src/core/health.ts';
import { makeLabel, parseLabel, type Tier } from '../../src/core/label.ts';
import { alertChangeOf } from '../../src/core/monitor_troubles.ts';
import { retentionPolicy } from '../../src/core/retention.ts';
import type { RunAside, RunOutcome } from '../../src/core/run_outcome.ts';
import { planSchedule } from '../../src/core/schedule.ts';
import { reportTroubles } from '../../src/operations/alerts/report.ts';
import { reportRun } from '../../src/operations/alerts/report_run.ts';
import type { RepositoryContext } from '../../src/operations/context.ts';
import { finishCopies } from '../../src/operations/finish_copies.ts';
import { checkGroups } from '../../src/operations/monitor/checks.ts';
import { monitor } from '../../src/operations/monitor/monitor.ts';
import { openStores } from '../../src/operations/ready_stores.ts';
import { applyRetention } from '../../src/operations/retention/apply_retention.ts';
import { nextRun } from '../../src/schedule/next_run.ts';
import { type AlertReceiver, startAlertReceiver } from './alert_receiver.ts';
import { brokenPromises } from './kept_promises.ts';
import { madeUpSpace } from './made_up_disk.ts';
import { memoryFolder } from './memory_folder.ts';
import { dayMs, hourMs, type MonitorScene, openMonitorScene } from './monitor_scene.ts';
import { writeSampleBackup } from './sample_backup.ts';

const [cluster, database] = ['main', 'shop'];
const zone = 'Europe/Berlin';
/** How long a backup takes. */
const backupMs = 20 * 60_000;
const gigabyte = 1e9;

/** An alert that came, and when it really was. */
export interface ToldAlert {
  readonly at: Date;
  readonly alert: Alert;
}

/** A run of the schedule. */
export interface YearRun {
  readonly tier: Tier;
  readonly at: Date;
  /** What retention found against it: backups that should not be gone. */
  readonly broken: readonly string[];
}

/** What goes wrong, changed as the year goes on. */
export interface World {
  /** cron runs the full backups. */
  hasCron: boolean;
  hasDatabase: boolean;
  hasNas: boolean;
  hasEndpoint: boolean;
  /** By so much this machine's clock is ahead. */
  aheadMs: number;
  diskGigabytes: number;
  /** What a backup takes of it from then on. */
  backupGigabytes: number;
  growthGigabytesPerDay: number;
}

type FullTier = 'daily' | 'weekly' | 'monthly';
type Step = () => Promise<void>;

export class SimulatedYear {
  readonly world: World = {
    hasCron: true,
    hasDatabase: true,
    hasNas: true,
    hasEndpoint: true,
    aheadMs: 0,
    diskGigabytes: 200,
    backupGigabytes: 10,
    growthGigabytesPerDay: 0,
  };
  readonly told: ToldAlert[] = [];
  /** By the schedule. */
  readonly planned: { readonly tier: Tier; readonly at: Date }[] = [];
  readonly runs: YearRun[] = [];
  looks = 0;
  /** Whether the monitor looks four times on a day. */
  isWatched: (day: number) => boolean = () => false;
  readonly begin: Date;
  readonly end: Date;
  readonly #scene: MonitorScene;
  readonly #receiver: AlertReceiver;
  readonly #steps: { readonly atMs: number; readonly step: Step }[] = [];
  readonly #jobs = new Map<string, { readonly job: Job; readonly startedAt: Date }>();
  /** Every backup that was ever taken, with what it takes of the disk. */
  readonly #taken = new Map<string, number>();
  /** Removed by a person. */
  readonly #byHand = new Set<string>();
  #opened: Promise<RepositoryContext> | null = null;
  #atMs = 0;
  #serial = 0;

  private constructor(scene: MonitorScene, receiver: AlertReceiver, begin: Date, days: number) {
    this.#scene = scene;
    this.#receiver = receiver;
    this.begin = begin;
    this.end = new Date(begin.getTime() + days * dayMs);
  }

  /** @param begin far from today: what the system says of its own start must not matter */
  static async open(begin: Date, days: number): Promise<SimulatedYear> {
    const scene = await openMonitorScene(begin, null, memoryFolder ?? tmpdir());
    const receiver = await startAlertReceiver();
    scene.set({
      ALERT_ENDPOINT: receiver.url,
      CLUSTER: cluster,
      PGDATABASE: database,
      BACKUP_RETENTION_DAILY: '5',
      BACKUP_RETENTION_WEEKLY: '2',
      BACKUP_RETENTION_MONTHS: '2',
      SCHEDULE_MONITOR: '10 2,8,14,20 * * *',
      SCHEDULE_TIME_ZONE: zone,
    });
    const year = new SimulatedYear(scene, receiver, begin, days);
    receiver.answerWith(() => (year.world.hasEndpoint ? 204 : 503));
    year.#planBackup('daily', new Date(begin.getTime() + hourMs / 10));
    await year.#plan();
    return year;
  }

  async close(): Promise<void> {
    await this.#receiver.close();
    await this.#scene.close();
  }

  /** A moment of a day, both counted from the beginning. */
  day(day: number, hours = 0): Date {
    return new Date(this.begin.getTime() + day * dayMs + hours * hourMs);
  }

  /** Something happens then. */
  at(day: number, hours: number, step: () => void | Promise<void>): void {
    this.#steps.push({ atMs: this.day(day, hours).getTime(), step: async () => step() });
  }

  /** From then on the world is so. */
  change(day: number, hours: number, world: Partial<World>): void {
    this.at(day, hours, () => void Object.assign(this.world, world));
  }

  /** Lives through it. */
  async play(): Promise<void> {
    this.#steps.sort((a, b) => a.atMs - b.atMs);
    for (const { atMs, step } of this.#steps) {
      this.#atMs = atMs;
      this.#scene.setClock(new Date(atMs + this.world.aheadMs));
      const before = this.#receiver.alerts.length;
      await step();
      for (const alert of this.#receiver.alerts.slice(before)) {
        this.told.push({ at: new Date(atMs), alert });
      }
    }
  }

  /** Flips a bit in the newest backup of BACKUP_DIR. @returns what mends it */
  async damageNewest(): Promise<() => Promise<void>> {
    const labels = await labelsIn(await this.#context());
    const label = labels.filter((each) => each.includes('daily')).at(-1);
    const key = `${databaseFolder(cluster, database)}/${label}/database.dump.zst`;
    await this.#scene.flip('local', key);
    return () => this.#scene.flip('local', key);
  }

  /** As a run of its own sees it: the settings are read again only when they have changed. */
  async #context(): Promise<RepositoryContext> {
    this.#opened ??= this.#scene.context();
    const context = await this.#opened;
    return { ...context, catalog: createCatalog(context.repository.storage) };
  }

  /** A second store is set up, or taken out of the settings. */
  async setUpNas(isThere: boolean): Promise<void> {
    const file = join(this.#scene.folder, 'holdfast.yaml');
    const lines = ['stores:', '  nas:', `    path: ${this.#scene.nas}`, '    required: false', ''];
    await writeFile(file, isThere ? lines.join('\n') : '{}\n', { mode: 0o600 });
    this.#opened = null;
  }

  async breakNas(): Promise<void> {
    await rename(this.#scene.nas, `${this.#scene.nas}.away`);
    await writeFile(this.#scene.nas, 'no folder');
    this.world.hasNas = false;
  }

  /** Removes what is dated in the future, as the guard of the retention asks for. */
  async removeAhead(): Promise<void> {
    const { repository, clock } = await this.#context();
    const ahead = (label: string) => (parseLabel(label)?.startedAt ?? 0) > clock();
    for (const store of repository.stores) {
      const storage = await store.open();
      for (const label of await storage.children(databaseFolder(cluster, database))) {
        const folder = `${databaseFolder(cluster, database)}/${label}`;
        if (!ahead(label)) continue;
        await storage.removeFolder(folder, 'manifest.json');
        this.#byHand.add(label);
      }
    }
  }

  async mendNas(): Promise<void> {
    await rm(this.#scene.nas);
    await rename(`${this.#scene.nas}.away`, this.#scene.nas);
    this.world.hasNas = true;
  }

  /** What the schedule says, as five fields and a zone are read by who runs it. */
  async #plan(): Promise<void> {
    const { config } = await this.#context();
    const facts = { isArchiving: false, isIncrementalSet: false, namesDatabase: true };
    const { jobs } = planSchedule(config.settings.schedule, facts);
    for (const { name, when } of jobs) {
      let at = await nextRun(when, this.begin, zone);
      for (; at !== null && at < this.end; at = await nextRun(when, at, zone)) {
        if (name === 'monitor') this.#planLook(at);
        else if (name !== 'incremental') this.#planBackup(name, at);
      }
    }
  }

  /** Every second night while a backup runs; on days of interest four times a day. */
  #planLook(at: Date): void {
    const day = Math.floor((at.getTime() - this.begin.getTime()) / dayMs);
    const step = async () => {
      const isNight = at.getUTCHours() < 2 && day % 2 === 0;
      if (isNight || this.isWatched(day)) await this.#look();
    };
    this.#steps.push({ atMs: at.getTime(), step });
  }

  #planBackup(tier: FullTier, at: Date): void {
    const atMs = at.getTime();
    this.planned.push({ tier, at });
    this.#steps.push({ atMs, step: () => this.#beginBackup(tier) });
    this.#steps.push({ atMs: atMs + backupMs, step: () => this.#endBackup(tier, at) });
  }

  async #beginJob(context: RepositoryContext, job: string, command: string): Promise<void> {
    const { stateDir } = context.repository;
    const startedAt = context.clock();
    const begun = await beginJob({ stateDir, job, runId: context.runId, command, startedAt });
    this.#jobs.set(job, { job: begun, startedAt });
  }

  async #beginBackup(tier: FullTier): Promise<void> {
    if (!this.world.hasCron) return;
    await this.#beginJob(await this.#context(), tier, 'backup_full.ts');
  }

  async #endBackup(tier: FullTier, at: Date): Promise<void> {
    const begun = this.#jobs.get(tier);
    if (begun === undefined) return;
    this.#jobs.delete(tier);
    const context = await this.#context();
    const { repository, clock } = context;
    const server = `socket ${this.#scene.folder}/.s.PGSQL.5432`;
    const { startedAt } = begun;
    const [started_at, finished_at] = [startedAt.toISOString(), clock().toISOString()];
    const about = { event: 'backup', cluster, database, server, facts: {} } as const;
    let outcome: RunOutcome;
    if (this.world.hasDatabase) {
      const label = await this.#write(context, tier, startedAt);
      outcome = { ...about, error: null, asides: await this.#tidy(context, tier, at, label) };
      const run = { started_at, finished_at, status: 'ok', exit_status: 0, label } as const;
      await updateStatus(repository.root, { cluster, database, server, run }, clock());
    } else {
      const error = new HoldfastError('DATABASE_UNREACHABLE', 'the server does not answer');
      outcome = { ...about, error };
      const { code, message } = error;
      const end = {
        status: 'failed',
        exit_status: error.status,
        error: { code, message },
      } as const;
      const run = { started_at, finished_at, ...end };
      await updateStatus(repository.root, { cluster, database, server, run }, clock());
    }
    await begun.job.end(outcome.error?.status ?? 0, clock());
    await reportRun(context, {
      ...{ event: 'backup', command: 'backup_full.ts', job: tier, isAttended: false },
      ...{ isQuestion: false, outcomes: [outcome], error: null, died: null },
    });
  }

  async #write(context: RepositoryContext, tier: Tier, startedAt: Date): Promise<string> {
    this.#serial += 1;
    const random = Buffer.from([this.#serial % 36, Math.floor(this.#serial / 36) % 36, 0, 0]);
    const label = makeLabel(startedAt, tier, random);
    const times = {
      started_at: startedAt.toISOString(),
      finished_at: context.clock().toISOString(),
    };
    const manifest = { label, tier, cluster, database, ...times };
    for (const { storage } of await openStores(context)) {
      if (storage !== null) await writeSampleBackup(storage, { manifest });
    }
    const { backupGigabytes, growthGigabytesPerDay } = this.world;
    if (tier === 'daily') this.world.backupGigabytes = backupGigabytes + growthGigabytesPerDay;
    this.#taken.set(label, backupGigabytes * gigabyte);
    return label;
  }

  /** Copies and retention, as a run does them behind its backup. */
  async #tidy(
    context: RepositoryContext,
    tier: Tier,
    at: Date,
    label: string,
  ): Promise<readonly RunAside[]> {
    const { hasNas } = this.world;
    const { warnings } = await finishCopies(context, {
      folder: databaseFolder(cluster, database),
      failed: hasNas ? [] : ['nas'],
      exclusively: (work) => work(context.signal),
    });
    const retention = await applyRetention(context, { cluster, database });
    const policy = retentionPolicy(context.config.settings);
    const present = new Set([...(await labelsIn(context)), ...this.#byHand]);
    const broken = brokenPromises([...this.#taken.keys()], present, policy, new Date(this.#atMs));
    this.runs.push({ tier, at, broken: present.has(label) ? broken : [...broken, label] });
    const problem = hasNas ? (warnings[0] ?? null) : 'it does not answer';
    const copy = { event: 'copy', subject: 'nas', problem } as const;
    const kept = retention.warnings.filter((text) => hasNas || !text.includes('the store nas'));
    return [
      ...(context.repository.stores.length < 2 ? [] : [copy]),
      { event: 'retention', subject: database, problem: kept[0] ?? null },
    ];
  }

  async #look(): Promise<void> {
    this.looks += 1;
    const context = await this.#context();
    await this.#beginJob(context, 'monitor', 'monitor_backups.ts');
    // Servers, WAL and clocks have no server to ask here, and the disk is made up.
    const names = ['backups', 'integrity', 'repository', 'runs', 'logs'];
    const labels = await labelsIn(context);
    const sizes = new Map(labels.map((label) => [label, this.#taken.get(label) ?? 0]));
    const disk = madeUpSpace(sizes, this.world.diskGigabytes * gigabyte);
    const groups = [...checkGroups.filter(({ name }) => names.includes(name)), disk];
    const { report, unasked } = await monitor(
      { context, problem: null },
      { isQuick: true, groups },
    );
    await reportTroubles(context, alertChangeOf(report, unasked));
    await this.#jobs.get('monitor')?.job.end(healthStatus[report.status], context.clock());
  }
}

/** In BACKUP_DIR, oldest first. */
function labelsIn({ repository }: RepositoryContext): Promise<readonly string[]> {
  return repository.local.children(databaseFolder(cluster, database));
}
