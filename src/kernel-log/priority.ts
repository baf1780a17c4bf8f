/** Facility and level of a record by the names that logs have for them. */

export const FACILITIES = [
  'kern',
  'user',
  'mail',
  'daemon',
  'auth',
  'syslog',
  'lpr',
  'news',
  'uucp',
  'cron',
  'authpriv',
  'ftp',
];
const LEVELS = ['emerg', 'alert', 'crit', 'err', 'warn', 'notice', 'info', 'debug'];

/** Without its facility a line counts as the kernel's: only root can write others into the kernel's log. */
export function facility(name: string | undefined): number {
  const index = name === undefined ? 0 : FACILITIES.indexOf(name);
  return index < 0 ? FACILITIES.length : index;
}

export function level(name: string | undefined): number {
  const index = LEVELS.indexOf(name ?? 'info');
  return index < 0 ? LEVELS.length - 1 : index;
}
