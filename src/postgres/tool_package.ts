/** The name of the package that brings PostgreSQL's programs, for hints. Pure. */

/** What is missing, and on which system. */
export interface PackageWish {
  /** The text of /etc/os-release; empty where there is none. */
  readonly os: string;
  readonly platform: NodeJS.Platform;
  readonly kind: 'client' | 'server';
  /** `null`: any version will do. */
  readonly major: number | null;
}

/** The one major version that each release of Debian and Ubuntu carries. */
const carriedMajors: Readonly<Record<string, number>> = {
  bullseye: 13,
  bookworm: 15,
  trixie: 17,
  forky: 18,
  jammy: 14,
  noble: 16,
  plucky: 17,
  questing: 17,
};

const ownRepository = "PostgreSQL's own package repository (postgresql.org/download)";

/** A value of os-release(5), without its quotes. */
function osValue(os: string, name: string): string {
  const match = new RegExp(`^${name}=["']?([^"'\\n]*)`, 'm').exec(os);
  return match?.[1] ?? '';
}

function describeDebian(wish: PackageWish): string {
  const { major, kind } = wish;
  const stem = kind === 'server' ? 'postgresql' : 'postgresql-client';
  if (major === null) return `Install the package ${stem}: apt-get install ${stem}.`;
  const name = `${stem}-${major}`;
  const codename = osValue(wish.os, 'VERSION_CODENAME');
  if (carriedMajors[codename] === major)
    return `Install the package ${name}: apt-get install ${name}.`;
  return (
    `Install the package ${name} from ${ownRepository}, since ${codename || 'the distribution'} ` +
    'does not carry it: apt-get install postgresql-common, then ' +
    `/usr/share/postgresql-common/pgdg/apt.postgresql.org.sh, then apt-get install ${name}.`
  );
}

/** One sentence that says which package to install and how, on this operating system. */
export function describePackage(wish: PackageWish): string {
  const { major, kind, platform } = wish;
  if (platform === 'darwin') {
    const name = major === null ? 'postgresql' : `postgresql@${major}`;
    return `Install it with Homebrew: brew install ${name}.`;
  }
  const family = `${osValue(wish.os, 'ID')} ${osValue(wish.os, 'ID_LIKE')}`;
  if (/\b(debian|ubuntu)\b/.test(family)) return describeDebian(wish);
  if (/\b(rhel|fedora|centos|rocky|almalinux|amzn|ol)\b/.test(family)) {
    const suffix = kind === 'server' ? '-server' : '';
    const name = `postgresql${major ?? ''}${suffix}`;
    return `Install the package ${name} from ${ownRepository}: dnf install ${name}.`;
  }
  const version = major === null ? '' : ` ${major}`;
  return `Install PostgreSQL${version}'s ${kind} programs, or put their folder on PATH.`;
}
