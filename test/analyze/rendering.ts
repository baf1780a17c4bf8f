import { type KernelRecord, parseKmsgRecord } from '../../src/kernel/kmsg-record.ts';

/** What the tools make of the kernel's records. The machine was started at this moment. */
export const BOOT = Date.parse('2026-11-21T03:14:00.000Z');

const FACILITY = 'kern  ';
const LEVELS = ['emerg ', 'alert ', 'crit  ', 'err   ', 'warn  ', 'notice', 'info  ', 'debug '];
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
const DAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];
const HOST = 'node-7';

const two = (value: number) => String(value).padStart(2, '0');
const seconds = (record: KernelRecord) => (record.timestampUs / 1e6).toFixed(6);
const monotonic = (record: KernelRecord) => `[${seconds(record).padStart(12)}]`;
const wall = (record: KernelRecord) => new Date(BOOT + record.timestampUs / 1000);
const clock = (at: Date) => `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
const short = (at: Date) => `${MONTHS[at.getMonth()]} ${String(at.getDate()).padStart(2)} ${clock(at)}`;
const ctime = (at: Date) => `${DAYS[at.getDay()]} ${short(at)} ${at.getFullYear()}`;

const levelOf = (record: KernelRecord) => (LEVELS[record.level] ?? '').trim();

/** util-linux and journalctl print further lines below the text of the first. */
const indented = (prefix: string, text: string) =>
  prefix + text.replaceAll('\n', `\n${' '.repeat(prefix.length)}`);
/** Daemons that read /proc/kmsg get each line of a record with the same time. */
const split = (prefix: string, text: string) =>
  text
    .split('\n')
    .map((line) => prefix + line)
    .join('\n');

const renderers: Readonly<Record<string, (record: KernelRecord) => string>> = {
  dmesg: (record) => indented(`${monotonic(record)} `, record.text),
  'a console that lost lines': (record) =>
    split(`** ${record.sequence} printk messages dropped ** ${monotonic(record)} `, record.text),
  'dmesg -T': (record) => indented(`[${ctime(wall(record))}] `, record.text),
  'dmesg -T in Chinese': (record) =>
    indented(
      `[六 ${wall(record).getMonth() + 1}月 ${wall(record).getDate()} ${clock(wall(record))} ${wall(record).getFullYear()}] `,
      record.text,
    ),
  'dmesg -T in French': (record) =>
    indented(`[sam. ${wall(record).getDate()} nov. ${clock(wall(record))} 2026] `, record.text),
  'talosctl dmesg': (record) =>
    `${HOST}: kern: ${levelOf(record).padStart(7)}: [${wall(record).toISOString()}]: ${record.text}`,
  'dmesg -x': (record) => indented(`${FACILITY}:${LEVELS[record.level]}: ${monotonic(record)} `, record.text),
  'dmesg -T -x': (record) =>
    indented(`${FACILITY}:${LEVELS[record.level]}: [${ctime(wall(record))}] `, record.text),
  'dmesg --time-format iso': (record) =>
    indented(`${wall(record).toISOString().replace('.', ',').replace('Z', '000+00:00')} `, record.text),
  'dmesg --raw': (record) => `<${record.level}>${monotonic(record)} ${record.text}`,
  'busybox dmesg': (record) => split(`${monotonic(record)} `, record.text),
  'busybox dmesg with CONFIG_PRINTK_CALLER': (record) => split(`${monotonic(record)}[ T123] `, record.text),
  'journalctl -o short': (record) => indented(`${short(wall(record))} ${HOST} kernel: `, record.text),
  'journalctl -o short-precise': (record) =>
    indented(
      `${short(wall(record))}.${String(record.timestampUs % 1_000_000).padStart(6, '0')} ${HOST} kernel: `,
      record.text,
    ),
  'journalctl -o short-iso': (record) =>
    indented(`${wall(record).toISOString().slice(0, 19)}+0000 ${HOST} kernel: `, record.text),
  'journalctl -o short-full': (record) =>
    indented(
      `Sat ${wall(record).toISOString().slice(0, 19).replace('T', ' ')} UTC ${HOST} kernel: `,
      record.text,
    ),
  'journalctl -o short-unix': (record) =>
    indented(`${(wall(record).getTime() / 1000).toFixed(6)} ${HOST} kernel: `, record.text),
  'journalctl -o short-delta': (record) =>
    indented(
      `[${seconds(record).padStart(12)}${record.level === 3 ? ' '.repeat(16) : ' <    0.000012 >'}] ${HOST} kernel: `,
      record.text,
    ),
  'journalctl -o short-monotonic': (record) => indented(`${monotonic(record)} ${HOST} kernel: `, record.text),
  'journalctl -o short in Japanese': (record) =>
    indented(
      `${wall(record).getMonth() + 1}月 ${two(wall(record).getDate())} ${clock(wall(record))} ${HOST} kernel: `,
      record.text,
    ),
  'logread of OpenWrt': (record) =>
    split(`${ctime(wall(record))} kern.${levelOf(record)} kernel: ${monotonic(record)} `, record.text),
  'syslogd of busybox': (record) =>
    split(
      `${short(wall(record))} ${HOST} kern.${levelOf(record)} kernel: ${monotonic(record)} `,
      record.text,
    ),
  'syslog file, ISO 8601 with a blank': (record) =>
    split(
      `${wall(record).toISOString().replace('T', ' ').replace('Z', '+00:00')} ${HOST} kernel: ${monotonic(record)} `,
      record.text,
    ),
  "syslog file with the kernel's priorities": (record) =>
    split(`${short(wall(record))} ${HOST} kernel: <${record.level}>${monotonic(record)} `, record.text),
  'syslog file with two blanks': (record) =>
    split(`${short(wall(record))} ${HOST} kernel:  ${monotonic(record)} `, record.text),
  'syslog file with levels': (record) =>
    split(
      `${short(wall(record))} ${HOST} ${levelOf(record).toUpperCase()} kernel: ${monotonic(record)} `,
      record.text,
    ),
  'syslog file without host': (record) => split(`${short(wall(record))} kernel: `, record.text),
  'syslog file in an export with times of its own': (record) =>
    split(
      `${wall(record).toISOString()} ${short(wall(record))} ${HOST} kernel: ${monotonic(record)} `,
      record.text,
    ),
  'syslog file, CPU and task of the caller': (record) =>
    split(`${short(wall(record))} ${HOST} kernel: ${monotonic(record)}[ 3] [ T123] `, record.text),
  'dmesg, CPU and task of the caller': (record) => split(`${monotonic(record)}[ 3] [ T123] `, record.text),
  'syslog file, RFC 3164': (record) =>
    split(`${short(wall(record))} ${HOST} kernel: ${monotonic(record)} `, record.text),
  'syslog file, escaped by rsyslog': (record) =>
    `${wall(record).toISOString()} ${HOST} kernel: ${monotonic(record)} ${record.text.replaceAll('\n', '#012')}`,
  'syslog file, RFC 5424': (record) =>
    split(
      `<${record.level}>1 ${wall(record).toISOString()} ${HOST} kernel - - - ${monotonic(record)} `,
      record.text,
    ),
};

const journalEntry = (record: KernelRecord) => ({
  __REALTIME_TIMESTAMP: String(wall(record).getTime() * 1000),
  _SOURCE_MONOTONIC_TIMESTAMP: String(record.timestampUs),
  _TRANSPORT: 'kernel',
  _BOOT_ID: '6b0c7e8a0d8f4c1e9d6b2f1a54c0a7de',
  _HOSTNAME: HOST,
  SYSLOG_IDENTIFIER: 'kernel',
  SYSLOG_FACILITY: '0',
  PRIORITY: String(record.level),
  // journalctl prints what is not printable as an array of bytes.
  MESSAGE: /[^ -~]/.test(record.text) ? [...Buffer.from(record.text)] : record.text,
});

const dmesgEntry = (record: KernelRecord) =>
  `      {\n         "pri": ${record.level},\n         "time": ${seconds(record).padStart(12)},\n         "msg": ${JSON.stringify(record.text)}\n      }`;

/** A value with a control character is binary there: its length in eight bytes, then what it is. */
function exported(record: KernelRecord): string {
  const { MESSAGE, ...fields } = { ...journalEntry(record), MESSAGE: record.text };
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(Buffer.byteLength(MESSAGE)));
  const message = MESSAGE.includes('\n')
    ? `MESSAGE\n${length.toString('latin1')}${MESSAGE}`
    : `MESSAGE=${MESSAGE}`;
  const [first, ...rest] = Object.entries(fields).map(([name, value]) => `${name}=${value}`);
  return [first, message, ...rest].join('\n');
}

function verbose(record: KernelRecord): string {
  const { __REALTIME_TIMESTAMP, ...fields } = { ...journalEntry(record), MESSAGE: record.text };
  const time = wall(record).toISOString().replace('T', ' ').replace('Z', '');
  const head = `Sat ${time} UTC [s=5f1c;i=2a;b=6b0c]`;
  return [
    head,
    ...Object.entries(fields).map(
      ([name, value]) => `    ${name}=${value.replaceAll('\n', '\n            ')}`,
    ),
  ].join('\n');
}

/** What becomes of lines on their way: a container's log file, fluentd, Cloud Logging. */
const shipped: Readonly<Record<string, (records: readonly KernelRecord[]) => string>> = {
  "dmesg in Docker's json-file": (records) =>
    records
      .flatMap((record) =>
        (renderers.dmesg?.(record) ?? '')
          .split('\n')
          .map((line) => JSON.stringify({ log: `${line}\n`, stream: 'stdout', time: wall(record) })),
      )
      .join('\n'),
  'words in fluentd': (records) =>
    lines(records, (record) => ({
      host: HOST,
      ident: 'kernel',
      message: record.text,
      '@timestamp': wall(record),
    })),
  'words in Filebeat': (records) =>
    lines(records, (record) => ({
      '@timestamp': wall(record),
      host: { hostname: HOST },
      message: record.text,
      syslog: { facility: 0, identifier: 'kernel' },
    })),
  'journalctl -o json, a list in one line': (records) => JSON.stringify(records.map(journalEntry)),
  'dmesg --json in one line': (records) =>
    JSON.stringify({
      dmesg: records.map((record) => ({
        pri: record.level,
        time: Number(seconds(record)),
        msg: record.text,
      })),
    }),
  'lines downloaded from Grafana': (records) =>
    JSON.stringify(
      records.map((record) => ({
        line: renderers['syslog file, RFC 3164']?.({ ...record, text: record.text.replaceAll('\n', '#012') }),
        timestamp: `${wall(record).getTime()}000000`,
        date: wall(record),
        fields: { job: 'syslog', pods: [{ name: 'a' }] },
      })),
    ),
  'journalctl -o json-sse': (records) =>
    records.map((record) => `data: ${JSON.stringify(journalEntry(record))}\n`).join('\n'),
  'what Loki answers': (records) =>
    JSON.stringify({
      status: 'success',
      data: {
        resultType: 'streams',
        result: [
          {
            stream: { job: 'kern' },
            values: records.map((record) => [
              `${wall(record).getTime()}000000`,
              `${HOST} kernel: ${monotonic(record)} ${record.text.replaceAll('\n', '#012')}`,
            ]),
          },
        ],
      },
    }),
  'what Elasticsearch found': (records) =>
    JSON.stringify({
      took: 7,
      _shards: { failures: [] },
      hits: {
        total: { value: records.length },
        hits: records.map((record) => ({
          _index: 'journal',
          sort: [1],
          _source: { message: record.text, '@timestamp': wall(record), host: { name: HOST } },
        })),
      },
    }),
  'journal in Cloud Logging': (records) =>
    JSON.stringify(
      records.map((record) => ({
        insertId: 'x',
        jsonPayload: journalEntry(record),
        labels: { zone: 'a', list: ['b', 'c'] },
        timestamp: wall(record),
      })),
      null,
      2,
    ),
};

const lines = (records: readonly KernelRecord[], object: (record: KernelRecord) => object) =>
  records.map((record) => JSON.stringify(object(record))).join('\n');

/** Each way in which a log of the kernel comes: its name, and what it makes of records. */
export const RENDERINGS: readonly (readonly [string, (lines: readonly string[]) => string])[] = [
  ['records of /dev/kmsg', (lines) => `${lines.join('\n')}\n`],
  [
    'netconsole, extended, with the release',
    (lines) => lines.map((line) => `6.12.9-200.fc41,${line}\n`).join(''),
  ],
  ...Object.entries(renderers).map(
    ([name, render]) =>
      [name, (lines: readonly string[]) => `${parsed(lines).map(render).join('\n')}\n`] as const,
  ),
  [
    'dmesg --json',
    (lines) =>
      `{\n   "dmesg": [\n${parsed(lines).map(dmesgEntry).join(',').replaceAll('      },      {', '      },{')}\n   ]\n}\n`,
  ],
  [
    'journalctl -o json',
    (lines) =>
      `${parsed(lines)
        .map((record) => JSON.stringify(journalEntry(record)))
        .join('\n')}\n`,
  ],
  [
    'journalctl -o json-pretty',
    (lines) =>
      `${parsed(lines)
        .map((record) => JSON.stringify(journalEntry(record), null, 8))
        .join('\n')}\n`,
  ],
  ['journalctl -o export', (lines) => `${parsed(lines).map(exported).join('\n\n')}\n`],
  ['journalctl -o verbose', (lines) => `${parsed(lines).map(verbose).join('\n')}\n`],
  ...Object.entries(shipped).map(
    ([name, render]) => [name, (lines: readonly string[]) => `${render(parsed(lines))}\n`] as const,
  ),
];

function parsed(lines: readonly string[]): KernelRecord[] {
  return lines.map(parseKmsgRecord).filter((record) => record !== undefined);
}
