import { createHash } from 'node:crypto';
import { type TarEntry, tar } from './tar.ts';

export interface ImageOptions {
  readonly name: string;
  readonly entrypoint: readonly string[];
  readonly contents: readonly TarEntry[];
}

/** An image of one layer, in the format of `docker save`; `ctr images import` takes it. */
export function imageArchive({ name, entrypoint, contents }: ImageOptions): Buffer {
  const layer = tar(contents);
  const epoch = '1970-01-01T00:00:00Z';
  const configuration = Buffer.from(
    JSON.stringify({
      architecture: process.arch === 'x64' ? 'amd64' : process.arch,
      os: 'linux',
      created: epoch,
      config: { Entrypoint: entrypoint, Env: ['PATH=/bin'], WorkingDir: '/' },
      rootfs: { type: 'layers', diff_ids: [`sha256:${sha256(layer)}`] },
      history: [{ created: epoch }],
    }),
  );
  const files = { config: `${sha256(configuration)}.json`, layer: `${sha256(layer)}/layer.tar` };
  const manifest = [{ Config: files.config, RepoTags: [name], Layers: [files.layer] }];
  return tar([
    { path: files.config, file: configuration, mode: 0o644 },
    { path: files.layer, file: layer, mode: 0o644 },
    { path: 'manifest.json', file: Buffer.from(JSON.stringify(manifest)), mode: 0o644 },
  ]);
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}
