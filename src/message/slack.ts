import { shown, size } from '../format.ts';
import type { Incident } from '../incident.ts';
import { type Died, messageOf, nodesOf, stormSentence } from '../message.ts';
import type { Recurrence } from '../sink.ts';
import { limitInShort, memoryInShort, ranOutAsAWhole, residentOfVictim, whoseLimit } from './cause.ts';
import { name, node, whyUnknown, workload } from './names.ts';

/**
 * What Slack takes, in characters after escaping (docs.slack.dev: reference/block-kit/blocks, chat.postMessage).
 * A message over them is refused as a whole.
 */
export const SLACK_LIMITS = {
  text: 40_000,
  blocks: 50,
  header: 150,
  sectionText: 3000,
  fields: 10,
  fieldText: 2000,
  contextElements: 10,
  contextText: 2000,
} as const;

export interface SlackMessage {
  readonly text: string;
  readonly blocks: readonly SlackBlock[];
  readonly attachments: readonly { readonly color: string; readonly blocks: readonly SlackBlock[] }[];
}

export type SlackBlock =
  | { readonly type: 'header'; readonly text: PlainText }
  | { readonly type: 'section'; readonly text: SlackText }
  | { readonly type: 'section'; readonly fields: readonly SlackText[] }
  | { readonly type: 'context'; readonly elements: readonly SlackText[] };

interface PlainText {
  readonly type: 'plain_text';
  readonly text: string;
  readonly emoji: false;
}

/** `verbatim`: names of channels and people, and addresses, in the text stay text. */
type SlackText = PlainText | { readonly type: 'mrkdwn'; readonly text: string; readonly verbatim: true };

const ORANGE = '#e8912d';
const RED = '#d40e0d';
/** A phone shows about ten lines of code; escaping makes up to five characters of one. */
const COMMAND_LENGTH = 400;
const STORM_LINES = 8;
/** Looks like a backtick and means nothing to Slack. */
const GRAVE = '\u02cb';

/** One incident on at most one screen of a phone. `link`: an address for it, safe to stand between `<` and `|`. */
export function slackMessage(
  incident: Incident,
  recurrence: Recurrence,
  link: string | undefined,
): SlackMessage {
  const message = messageOf(incident, recurrence, 'utc');
  const { command, note } = message.died;
  const sentences = [message.why, message.before, note].filter((text) => text !== undefined);
  return {
    text: fitting(message.sentence, SLACK_LIMITS.contextText),
    blocks: [header(`${message.what}: ${message.subject}`)],
    attachments: [
      {
        color: message.nodeWide ? RED : ORANGE,
        blocks: [
          { type: 'section', fields: fields(incident, message.died) },
          { type: 'section', text: lines(sentences.map(capitalised)) },
          ...(command === undefined ? [] : [{ type: 'section' as const, text: codeBlock(command) }]),
          context([moment(incident.time), incident.id], link),
        ],
      },
    ],
  };
}

/** A storm of kills in one message. */
export function slackStorm(incidents: readonly Incident[]): SlackMessage {
  const [first, last] = [incidents[0]!, incidents.at(-1)!];
  const sentence = stormSentence(incidents);
  const counts = Map.groupBy(
    incidents,
    (incident) => `${name(incident.process.name)}${placeOf(incident)}, ${limitInShort(incident)}`,
  );
  const biggest = [...counts].sort(([, a], [, b]) => b.length - a.length).slice(0, STORM_LINES);
  return {
    text: fitting(sentence, SLACK_LIMITS.contextText),
    blocks: [header(`${incidents.length} OOM kills on ${nodesOf(incidents)}`)],
    attachments: [
      {
        color: incidents.some(ranOutAsAWhole) ? RED : ORANGE,
        blocks: [
          {
            type: 'section',
            text: lines([sentence, ...biggest.map(([what, all]) => `${all.length} × ${what}`)]),
          },
          context([`${moment(first.time)} to ${moment(last.time)}`, `${first.id} to ${last.id}`], undefined),
        ],
      },
    ],
  };
}

function placeOf(incident: Incident): string {
  const place = workload(incident);
  return place === undefined ? ` on ${node(incident)}` : ` in ${place}`;
}

function fields(incident: Incident, { process, others }: Died): SlackText[] {
  const { k8s, container, systemd } = incident;
  const pod = k8s?.pod?.name ?? unknownPod(incident);
  const containerName = k8s?.container?.name ?? container?.name ?? container?.id?.slice(0, 12);
  const facts: (readonly [label: string, value: string | undefined])[] = [
    ['Pod', pod],
    ['Container', containerName],
    ['Service', systemd?.unit],
    ['Node', node(incident)],
    ['Died', others === undefined ? process : `${process}: ${others}`],
    ['Memory', memoryInShort(incident) ?? heldByVictim(incident) ?? 'unknown'],
    ['Whose limit', whoseLimit(incident)],
  ];
  return facts.flatMap(([label, value]) => (value === undefined ? [] : [field(label, value)]));
}

/** `java held 1.97 GiB`: where there is no limit, or none that the kernel told. */
function heldByVictim(incident: Incident): string | undefined {
  const own = residentOfVictim(incident);
  return own === undefined ? undefined : `${name(incident.process.name)} held ${size(own)}`;
}

function unknownPod(incident: Incident): string | undefined {
  const reason = whyUnknown(incident, 'k8s.pod.name', 'k8s.pod', 'k8s');
  return reason === undefined ? undefined : `unknown: ${reason}`;
}

/** As inline code: nothing in it is bold, struck through or a link. */
function field(label: string, value: string): SlackText {
  const text = fitting(value, SLACK_LIMITS.fieldText - label.length - 6);
  return { type: 'mrkdwn', text: `*${label}*\n\`${text.replaceAll('`', GRAVE)}\``, verbatim: true };
}

function header(text: string): SlackBlock {
  return {
    type: 'header',
    text: { type: 'plain_text', text: fitting(text, SLACK_LIMITS.header), emoji: false },
  };
}

function lines(texts: readonly string[]): PlainText {
  const each = Math.floor(SLACK_LIMITS.sectionText / texts.length) - 1;
  return { type: 'plain_text', text: texts.map((text) => fitting(text, each)).join('\n'), emoji: false };
}

/** Three backticks would end the block early. */
function codeBlock(command: string): SlackText {
  const text = fitting(shown(command, COMMAND_LENGTH), SLACK_LIMITS.sectionText - 8);
  return {
    type: 'mrkdwn',
    text: `\`\`\`\n${text.replace(/`{3,}/g, (run) => GRAVE.repeat(run.length))}\n\`\`\``,
    verbatim: true,
  };
}

function context(texts: readonly string[], link: string | undefined): SlackBlock {
  const elements: SlackText[] = texts.map((text) => ({
    type: 'plain_text',
    text: fitting(text, SLACK_LIMITS.contextText),
    emoji: false,
  }));
  if (link !== undefined && link.length < SLACK_LIMITS.contextText - 20)
    elements.push({ type: 'mrkdwn', text: `<${link}|Open>`, verbatim: true });
  return { type: 'context', elements };
}

/** `2026-11-21 03:14:15 UTC` */
function moment(time: string): string {
  return `${time.slice(0, 19).replace('T', ' ')} UTC`;
}

function capitalised(sentence: string): string {
  return sentence.charAt(0).toUpperCase() + sentence.slice(1);
}

/** Without these three no mention, link or date can be written (docs.slack.dev: Formatting message text, Escaping text). */
export function escapeSlack(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

/** Printable and escaped, cut in the middle to what fits after escaping. */
function fitting(text: string, limit: number): string {
  let room = limit;
  let escaped = escapeSlack(shown(text, room));
  while (escaped.length > limit) {
    room -= Math.ceil((escaped.length - limit) / 5);
    escaped = escapeSlack(shown(text, room));
  }
  return escaped;
}
