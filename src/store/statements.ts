import type { DatabaseSync, StatementSync } from 'node:sqlite';

/** The statements of one database, prepared once each: preparing takes longer than running. */
export class Statements {
  readonly database: DatabaseSync;
  readonly #prepared = new Map<string, StatementSync>();

  constructor(database: DatabaseSync) {
    this.database = database;
  }

  sql(text: string): StatementSync {
    let statement = this.#prepared.get(text);
    if (statement === undefined) {
      statement = this.database.prepare(text);
      this.#prepared.set(text, statement);
    }
    return statement;
  }

  /** The first column of the first row; 0 where there is none. */
  number(text: string, ...values: (string | number)[]): number {
    return Number(Object.values(this.sql(text).get(...values) ?? {})[0] ?? 0);
  }
}
