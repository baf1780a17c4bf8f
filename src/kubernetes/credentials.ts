import type { AgentOptions } from 'node:https';

/** What a request needs to be let in, as it is at this moment. */
export interface Access {
  readonly headers: Readonly<Record<string, string | string[]>>;
  /** Of the connection; a change needs a new one. */
  readonly tls: AgentOptions;
  /** `user:password` */
  readonly auth?: string;
}

/** Where the API server is, and how to be let in. Tokens and certificates change while the agent runs. */
export interface Credentials {
  readonly server: URL;
  /** @throws ApiError with reason `Credentials` and one line that names the mend */
  current(): Promise<Access>;
  /** The server refused this one: whatever is cached is read anew before the next. */
  distrust(access: Access): void;
}
