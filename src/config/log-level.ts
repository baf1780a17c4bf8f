/** The agent's log levels by the names that env_logger gives them; the values are pino's. */
const LEVELS = {
  off: 'silent',
  error: 'error',
  warn: 'warn',
  info: 'info',
  debug: 'debug',
  trace: 'trace',
} as const;

export type LogLevel = (typeof LEVELS)[keyof typeof LEVELS];
export const LOG_LEVEL_NAMES = Object.keys(LEVELS);

const DEFAULT: LogLevel = 'info';
/** The parts that oom-notifier's users name in their filters; here they are one. */
const OURS = /^oom[_-](notifier|witness)(::.*)?$/i;

/**
 * The level that a filter in env_logger's syntax asks for: `debug`, `oom_notifier=debug`, `warn,hyper=trace`. The part
 * that names this program wins over the one without a name; other names mean libraries that are not here.
 *
 * @returns undefined where it is not such a filter (message filters after a slash, which env_logger has, are not)
 */
export function logLevel(filter: string): LogLevel | undefined {
  let general: LogLevel | undefined;
  let ours: LogLevel | undefined;
  for (const part of filter.split(',').map((text) => text.trim())) {
    if (part === '') continue;
    const [target = '', name, ...rest] = part.split('=');
    if (rest.length > 0) return undefined;
    if (name === undefined && byName(target) !== undefined) {
      general = byName(target);
      continue;
    }
    // A name alone means all of it; env_logger takes any word for a name, but a misspelt level is likelier.
    if (name === undefined && !OURS.test(target)) return undefined;
    const level = byName(name || 'trace');
    if (level === undefined) return undefined;
    if (OURS.test(target)) ours = level;
  }
  return ours ?? general ?? DEFAULT;
}

function byName(name: string): LogLevel | undefined {
  const lower = name.toLowerCase();
  return Object.hasOwn(LEVELS, lower) ? LEVELS[lower as keyof typeof LEVELS] : undefined;
}
