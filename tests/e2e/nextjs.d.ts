// What a Next.js project has from @types/node.
declare const process: { env: Record<string, string | undefined> };
