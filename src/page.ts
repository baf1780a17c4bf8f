import { clockTime, counted, duration, ordinal, printable, shown, size } from './format.ts';
import type { CaptureSource, Incident, Victim } from './incident.ts';
import { messageOf } from './message.ts';
import { Html, html } from './server/html.ts';
import { PAGE_STYLE } from './server/page-style.ts';
import type { AgentStatus } from './server/status.ts';
import type { Delivery } from './sink.ts';

export interface Page {
  readonly hostName: string;
  /** Milliseconds since the epoch. */
  readonly now: number;
  readonly status: AgentStatus;
  /** The newest first. */
  readonly deliveries: readonly Delivery[];
  /** Not reached by "older". */
  readonly isFirst: boolean;
  readonly hasMore: boolean;
}

const COMMAND_ON_CARD = 240;
const COMMAND_IN_DETAILS = 8192;
const TASKS = 20;
const VICTIMS = 50;
const RAW_LINES = 80;

/** The newest incidents for a person. Without scripts; times in UTC, because the reader may sit anywhere. */
export function renderPage(page: Page): string {
  const { hostName, now, status, deliveries, isFirst, hasMore } = page;
  const oldest = deliveries.at(-1)?.incident.id;
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>OOM kills on ${printable(hostName)}</title>
<link rel="icon" href="data:,">
${style()}
</head>
<body>
<header><h1>OOM kills on ${printable(hostName)}</h1><span>as of ${clockTime(now, now, 'utc')}</span> <a href="/">${isFirst ? 'reload' : 'newest'}</a></header>
${problems(status)}
<main>
${deliveries.length === 0 ? emptiness(isFirst) : deliveries.map((delivery) => card(delivery, now))}
</main>
${hasMore && oldest !== undefined ? html`<p><a href="/?before=${encodeURIComponent(oldest)}">older</a></p>` : undefined}
</body>
</html>
`.source;
}

/** Not through the escaping: the hash is of exactly this text, and none of it comes from outside. */
function style(): Html {
  return new Html(`<style>${PAGE_STYLE}</style>`);
}

function problems({ parts }: AgentStatus): readonly Html[] {
  return parts
    .filter(({ works }) => !works)
    .map(
      ({ name, problem, cost }) =>
        html`<p class="problem" role="alert"><b>${printable(name)}</b>: ${printable(problem ?? 'does not work')}${cost && ` (${printable(cost)})`}</p>\n`,
    );
}

/** On its first start the agent takes what the kernel's log holds for history, and the store forgets after 30 days. */
const NONE_KNOWN =
  'No kill seen in the last 30 days, or since the agent was first started here. The kernel\u2019s log may hold earlier ones: oom-witness analyze /dev/kmsg';

function emptiness(isFirst: boolean): Html {
  return html`<p class="soft">${isFirst ? NONE_KNOWN : 'There are no older ones.'}</p>`;
}

function card({ incident, recurrence }: Delivery, now: number): Html {
  const message = messageOf(incident, recurrence, 'utc');
  const time = Date.parse(incident.time);
  const isWarning = incident.kind === 'oom_warning';
  const kind = isWarning ? 'warning' : message.nodeWide ? 'node' : 'cgroup';
  const { process, others, command, note } = message.died;
  const details = message.who.startsWith(message.subject) ? message.who.slice(message.subject.length) : '';
  const rows: readonly (readonly [string, Html | string | undefined])[] = [
    [isWarning ? 'at risk' : 'died', note === undefined ? process : `${process} (${note})`],
    ['with it', others],
    ['command', command && html`<code>${wholeWords(shown(command, COMMAND_ON_CARD))}</code>`],
    ['memory', message.memory],
    ['why', message.why],
    ['before', message.before],
  ];
  return html`<article class="${kind}">
<p class="top"><b>${message.what}</b><time datetime="${incident.time}">${clockTime(time, now, 'utc')}</time><span>${duration(Math.max(0, now - time), 1)} ago</span>${
    recurrence.nth > 1 ? html`<span class="again">${ordinal(recurrence.nth)} time</span>` : undefined
  }</p>
<h2>${message.subject}<small>${details}</small></h2>
<dl>${rows.map(([label, text]) => (text === undefined || text === '' ? undefined : html`<dt>${label}</dt><dd>${text}</dd>`))}</dl>
<details><summary>more: memory, processes, kernel lines</summary>
${commandLine(incident)}${victims(incident)}${memoryTable(incident)}${tasks(incident)}${kernelLines(incident)}${facts(incident)}
</details>
</article>
`;
}

/** Arguments that end a line only where it is full: a browser would break behind the hyphens of `-Xmx2g` and `--profile`. */
function wholeWords(command: string): readonly Html[] {
  return command.split(' ').map((word, index) => html`${index > 0 ? ' ' : ''}<span>${word}</span>`);
}

const READ: Readonly<Record<CaptureSource, string>> = {
  exec: 'read when the program was started',
  scan: 'read by a scan of /proc',
  inherited: 'its parent\u2019s, when it was forked',
  live: 'read when the kernel had already chosen it',
  'kernel-comm': 'not known',
  none: 'not known',
};

function commandLine({ process, victims: [first] }: Incident): Html | undefined {
  if (!process.command_line || first === undefined) return undefined;
  const { source, age_ms, truncated, redacted } = first.capture;
  const notes = [
    READ[source] + (age_ms === undefined ? '' : `, ${duration(age_ms)} before`),
    truncated ? 'cut: it was longer' : undefined,
    redacted > 0 ? `${counted(redacted, 'secret')} hidden` : undefined,
  ].filter((note) => note !== undefined);
  return html`<h3>Command line (${notes.join('; ')})</h3>
<pre>${wholeWords(shown(process.command_line, COMMAND_IN_DETAILS))}</pre>
`;
}

function victims({ victims }: Incident): Html | undefined {
  if (victims.length < 2) return undefined;
  return html`<h3>Died together${more(victims.length, VICTIMS)}</h3>
<div class="scroll"><table><tr><th>pid</th><th>resident</th><th class="text">process</th></tr>${victims
    .slice(0, VICTIMS)
    .map(
      (victim) =>
        html`<tr><td>${victim.process.pid}</td><td>${resident(victim)}</td><td class="text">${shown(victim.process.command_line || victim.process.name, COMMAND_ON_CARD)}</td></tr>`,
    )}</table></div>
`;
}

function resident({ memory }: Victim): string {
  if (memory === undefined) return '?';
  const { anon_rss = 0, file_rss = 0, shmem_rss = 0 } = memory;
  return size(anon_rss + file_rss + shmem_rss);
}

/** The kernel's figures are bytes where they are amounts; counts of events and pages have names of their own. */
const COUNT_NAME = /^(?:pg|work|thp_|zswp|swpin|swpout)/;

function memoryTable({ memory }: Incident): Html | undefined {
  const entries = Object.entries(memory ?? {}).filter(([name, value]) => value > 0 && !COUNT_NAME.test(name));
  if (entries.length === 0) return undefined;
  return html`<h3>Memory, as the kernel counts it (what is not zero)</h3>
<div class="stats">${entries
    .toSorted(([, a], [, b]) => b - a)
    .map(
      ([name, bytes]) => html`<div><span>${shown(name, 40)}</span><span>${size(bytes)}</span></div>`,
    )}</div>
`;
}

function tasks({ tasks, victims }: Incident): Html | undefined {
  if (tasks === undefined || tasks.length === 0) return undefined;
  const dead = new Set(victims.map(({ process }) => process.pid));
  const largest = tasks.toSorted((a, b) => b.rss - a.rss).slice(0, TASKS);
  return html`<h3>Processes to choose from, by resident memory${more(tasks.length, TASKS)}</h3>
<div class="scroll"><table><tr><th>pid</th><th class="text">name</th><th class="text"></th><th>resident</th><th>swap</th><th>score adj.</th></tr>${largest.map(
    (task) =>
      html`<tr><td>${task.pid}</td><td class="text">${shown(task.name, 40)}</td><td class="text">${dead.has(task.pid) ? 'killed' : ''}</td><td>${size(task.rss)}</td><td>${size(task.swap)}</td><td>${task.oom_score_adj}</td></tr>`,
  )}</table></div>
`;
}

function kernelLines({ raw }: Incident): Html | undefined {
  if (raw.length === 0) return undefined;
  return html`<h3>Kernel lines${raw.length > RAW_LINES ? `, the last ${RAW_LINES} of ${raw.length}` : ''}</h3>
<pre>${raw.slice(-RAW_LINES).map((line) => `${shown(line, 400)}\n`)}</pre>
`;
}

function facts(incident: Incident): Html {
  const { id, oom, process, container, k8s, witness, statements, unknown, host } = incident;
  const rows: readonly (readonly [string, string | undefined])[] = [
    ['cgroup', process.cgroup],
    ['limit of', oom.limit_cgroup === process.cgroup ? undefined : oom.limit_cgroup],
    ['image', container?.image?.name],
    ['QoS', k8s?.qos],
    ['host', [host.name, host.kernel && `Linux ${host.kernel}`].filter(Boolean).join(', ')],
    ['seen by', witness.join(', ')],
    ...(statements ?? []).map(({ by, says }) => [`${by} says`, says] as const),
    ...Object.entries(unknown ?? {}).map(([path, reason]) => ['unknown', `${path}: ${reason}`] as const),
  ];
  return html`<h3>Facts</h3>
<dl>${rows.map(([label, text]) => text && html`<dt>${label}</dt><dd>${shown(text, 400)}</dd>`)}<dt>id</dt><dd><a href="/api/incidents/${encodeURIComponent(id)}">${printable(id)}</a> (all of it, as JSON)</dd></dl>`;
}

function more(count: number, atMost: number): string {
  return count > atMost ? `, ${atMost} of ${count}` : '';
}
