import type { Option } from './option.ts';

/** Where a value comes from. */
export type Origin =
  | { readonly kind: 'flag'; readonly name: string }
  | { readonly kind: 'environment'; readonly name: string }
  | { readonly kind: 'file'; readonly path: string; readonly key: string }
  | { readonly kind: 'replaced'; readonly name: string }
  | { readonly kind: 'default' }
  | { readonly kind: 'unset' };

/** How a message begins: the option and, unless it was a flag, where its value stands. */
export function subject({ name }: Pick<Option, 'name'>, origin: Origin): string {
  return origin.kind === 'flag' ? origin.name : `--${name} (${written(origin)})`;
}

export function written(origin: Origin): string {
  if (origin.kind === 'file') return `${origin.key} in ${origin.path}`;
  return 'name' in origin ? origin.name : origin.kind;
}
