import type { Config, Origin, ResolvedOption } from '../config.ts';
import { printable } from '../format.ts';

/** Every option with its value and where that comes from; a configuration file could be made of it, but for secrets. */
export function configText(config: Config): string {
  const rows = config.options.map((option) => [yamlLine(option), originText(option.origin)] as const);
  const width = Math.min(50, Math.max(...rows.map(([line]) => line.length)));
  const lines = rows.map(([line, origin]) => `${line.padEnd(width)}  # ${origin}\n`);
  return `${lines.join('')}# delivers to: ${sinkNames(config).join(', ') || 'nobody'}\n`;
}

/** The same for programs: `{ options: { NAME: { value, origin } }, sinks: [NAME] }`. */
export function configJson(config: Config): string {
  const options = config.options.map(({ name, text, origin }) => [name, { value: text ?? null, origin }]);
  return `${JSON.stringify({ options: Object.fromEntries(options), sinks: sinkNames(config) }, null, 2)}\n`;
}

function sinkNames(config: Config): string[] {
  return config.sinks.map(({ name }) => name);
}

function yamlLine({ name, text }: ResolvedOption): string {
  if (text === undefined || text === '') return `# ${name}:`;
  const plain = text === '***' || /^[\w/.][\w/.:,=+@%|-]*$/.test(text);
  return `${name}: ${plain ? text : printable(JSON.stringify(text))}`;
}

function originText(origin: Origin): string {
  switch (origin.kind) {
    case 'flag':
    case 'environment':
      return `${origin.kind} ${origin.name}`;
    case 'replaced':
      return origin.name;
    case 'file':
      return `file ${printable(origin.path)}`;
    default:
      return origin.kind;
  }
}
