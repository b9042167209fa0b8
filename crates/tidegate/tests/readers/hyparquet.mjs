// Prints the rows of Parquet files as JSON, one a line, as hyparquet reads them.
import { asyncBufferFromFile, parquetReadObjects } from 'hyparquet'
import { compressors } from 'hyparquet-compressors'

const plain = (_, value) => {
  if (typeof value === 'bigint') return { whole: value.toString() }
  if (typeof value === 'number' && !Number.isFinite(value)) return { float: String(value) }
  if (Object.is(value, -0)) return { float: '-0' }
  return value
}

for (const path of process.argv.slice(2)) {
  const file = await asyncBufferFromFile(path)
  for (const row of await parquetReadObjects({ file, compressors })) {
    // JSON.stringify asks a date for its text before it asks us.
    for (const [name, value] of Object.entries(row)) {
      if (value instanceof Date) row[name] = { time: value.getTime() }
    }
    console.log(JSON.stringify(row, plain))
  }
}
