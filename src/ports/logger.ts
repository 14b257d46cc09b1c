// What happened, for the operator. Real: src/adapters/logger.ts.
// `message` is constant text that can be searched for; what varies goes into `fields`.

export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}
