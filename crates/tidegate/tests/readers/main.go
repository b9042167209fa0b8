// Prints what parquet-go reads of Parquet files: the number of rows, and of each column the number of values and nulls.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/parquet-go/parquet-go"
)

type column struct {
	Values int64    `json:"values"`
	Nulls  int64    `json:"nulls"`
	Text   []string `json:"text"`
}

func read(path string, rows *int64, columns map[string]*column) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	parsed, err := parquet.OpenFile(file, info.Size())
	if err != nil {
		return err
	}
	*rows += parsed.NumRows()
	names := parsed.Schema().Columns()
	for _, group := range parsed.RowGroups() {
		for index, chunk := range group.ColumnChunks() {
			name := ""
			for _, part := range names[index] {
				name += "." + part
			}
			known := columns[name[1:]]
			if known == nil {
				known = &column{Text: []string{}}
				columns[name[1:]] = known
			}
			pages := chunk.Pages()
			for {
				page, err := pages.ReadPage()
				if err == io.EOF {
					break
				}
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				values := make([]parquet.Value, page.NumValues())
				count, err := page.Values().ReadValues(values)
				if err != nil && err != io.EOF {
					return fmt.Errorf("%s: %w", name, err)
				}
				for _, value := range values[:count] {
					known.Values++
					if value.IsNull() {
						known.Nulls++
					} else {
						known.Text = append(known.Text, value.String())
					}
				}
			}
			pages.Close()
		}
	}
	return nil
}

func main() {
	rows, columns := int64(0), map[string]*column{}
	for _, path := range os.Args[1:] {
		if err := read(path, &rows, columns); err != nil {
			fmt.Fprintln(os.Stderr, path, err)
			os.Exit(1)
		}
	}
	json.NewEncoder(os.Stdout).Encode(map[string]any{"rows": rows, "columns": columns})
}
