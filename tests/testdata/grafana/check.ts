// The form of a dashboard, by the types of Grafana's own package @grafana/schema.
// A file of JSON has words where the types have enumerations.
import type { Dashboard } from '@grafana/schema';
type Json<T> = T extends string
  ? `${T}`
  : T extends number | boolean | null | undefined
    ? T
    : T extends (infer U)[]
      ? Json<U>[]
      : T extends object
        ? { [K in keyof T]: Json<T[K]> }
        : T;
// Keys that the data source of Prometheus reads and the schema leaves open.
interface OfPrometheus {
  annotations: { list: { expr: string; step?: string; titleFormat?: string; textFormat?: string; useValueForTime?: boolean }[] };
  templating: { list: { definition?: string }[] };
}
function check<T extends Json<Dashboard> & OfPrometheus>(dashboard: T): T { return dashboard; }
