import { DatabaseSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';

/** Since podman 4.8 on new machines; podman 5.8 brings over what others have in libpod/bolt_state.db, which is not read here. */
const DATABASE = 'db.sql';
/** Of one container, with whatever its image's author wrote into it: SQLite and JSON hold several copies. */
const MOST_BYTES = 4 << 20;
/** As podman fills the column it is a blob of text, which SQLite would take for its own binary form of JSON. */
const LABELS = `SELECT json_extract(CAST(JSON AS TEXT), '$.labels') AS labels FROM ContainerConfig
  WHERE ID = ? AND octet_length(JSON) <= ${MOST_BYTES}`;

/**
 * Labels stand nowhere but in podman's own database, and in events, which may be in the journal. It is read without a lock, because
 * podman writes to it when a container ends and must not wait: what is read in the middle of that is an error, and no labels.
 *
 * @param storage root's: SQLite runs what a database brings with it, and a user's could bring a query without an end
 * @returns undefined where they are not known
 */
export function podmanLabels(storage: string, id: string): unknown {
  const url = pathToFileURL(`${storage}/${DATABASE}`);
  url.searchParams.set('immutable', '1');
  try {
    using database = new DatabaseSync(url, { readOnly: true });
    return JSON.parse(String(database.prepare(LABELS).get(id)?.labels));
  } catch {
    return undefined;
  }
}
