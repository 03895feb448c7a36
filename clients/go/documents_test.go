package lockside

import (
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

const (
	page   = "../../docs/clients/go.md"
	readme = "README.md"
)

// What a sample stands in that is no program of its own.
const program = `package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	lockside "%s"
)

var _, _, _, _ = errors.New, fmt.Print, log.Print, time.Now

func main() {
	ctx := context.Background()
	client, err := lockside.New(lockside.Config{})
	_, _, _ = ctx, client, err
	{
%s
	}
}
`

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func samples(t *testing.T, path, language string) (found []string) {
	t.Helper()
	for _, match := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(read(t, path), -1) {
		found = append(found, match[1])
	}
	if len(found) == 0 {
		t.Fatalf("%s has no sample", path)
	}
	return found
}

// module is the path of this module, as go.mod has it.
func module(t *testing.T) string {
	t.Helper()
	return regexp.MustCompile(`(?m)^module (\S+)$`).FindStringSubmatch(read(t, "go.mod"))[1]
}

func run(t *testing.T, folder, command string, arguments ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(background, time.Minute)
	defer cancel()
	started := exec.CommandContext(ctx, command, arguments...)
	started.Dir = folder
	if output, err := started.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", command, strings.Join(arguments, " "), err, output)
	}
}

func TestEverySampleRunsInAModuleThatIsSetUpAsThePageSays(t *testing.T) {
	aRival(t)
	folder, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, document := range []string{page, readme} {
		setup := strings.ReplaceAll(samples(t, document, "sh")[0], "/path/to/lockside/clients/go", folder)
		app := t.TempDir()
		run(t, app, "go", "mod", "init", "app")
		run(t, app, "sh", "-ec", setup)
		for number, sample := range samples(t, document, "go") {
			if !strings.HasPrefix(sample, "package main\n") {
				sample = fmt.Sprintf(program, module(t), sample)
			}
			name := fmt.Sprintf("sample%d.go", number)
			if err := os.WriteFile(filepath.Join(app, name), []byte(sample), 0o600); err != nil {
				t.Fatal(err)
			}
			run(t, app, "go", "run", name)
		}
	}
}

func TestEveryExampleRuns(t *testing.T) {
	aRival(t)
	examples, err := filepath.Glob("examples/*")
	if err != nil || len(examples) == 0 {
		t.Fatal("no examples", err)
	}
	for _, example := range examples {
		run(t, ".", "go", "run", "./"+example)
	}
}

func TestThePageNamesEverythingThatThePackageHas(t *testing.T) {
	packages, err := parser.ParseDir(token.NewFileSet(), ".", func(file fs.FileInfo) bool {
		return !strings.HasSuffix(file.Name(), "_test.go")
	}, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	text, count := read(t, page), 0
	expect := func(name *ast.Ident, comment *ast.CommentGroup) {
		if !name.IsExported() {
			return
		}
		count++
		if !regexp.MustCompile(`\b` + name.Name + `\b`).MatchString(text) {
			t.Errorf("the page does not name %s", name.Name)
		}
		if comment.Text() == "" {
			t.Errorf("%s has no comment", name.Name)
		}
	}
	ast.Inspect(packages["lockside"], func(node ast.Node) bool {
		switch declared := node.(type) {
		case *ast.FuncDecl:
			isOfInterface := declared.Recv != nil && regexp.MustCompile(`^(Error|Unwrap|Is|As|String)$`).MatchString(declared.Name.Name)
			if !isOfInterface && !isInternal(declared) && declared.Name.Name != "Key" && declared.Name.Name != "Owner" {
				expect(declared.Name, declared.Doc)
			}
			return false
		case *ast.GenDecl:
			for _, spec := range declared.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					expect(spec.Name, declared.Doc)
				case *ast.ValueSpec:
					for _, name := range spec.Names {
						expect(name, firstComment(spec.Doc, declared.Doc))
					}
				}
			}
			return false
		}
		return true
	})
	if count < 50 {
		t.Fatalf("only %d names were found", count)
	}
}

// isInternal tells of a method of a type that the package keeps to itself.
func isInternal(declared *ast.FuncDecl) bool {
	if declared.Recv == nil {
		return false
	}
	kind := declared.Recv.List[0].Type
	if pointer, isPointer := kind.(*ast.StarExpr); isPointer {
		kind = pointer.X
	}
	name, isPlain := kind.(*ast.Ident)
	return isPlain && !name.IsExported()
}

func firstComment(comments ...*ast.CommentGroup) *ast.CommentGroup {
	for _, comment := range comments {
		if comment.Text() != "" {
			return comment
		}
	}
	return nil
}

func TestNoFileIsAbove300LinesAndTheModuleHasOnePathAndNoDependency(t *testing.T) {
	modulePath := module(t)
	mention := regexp.MustCompile(`lockside\.example/[a-z]+`)
	checked := 0
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text := read(t, path)
		checked++
		if lines := strings.Count(text, "\n"); lines > 300 {
			t.Errorf("%s has %d lines", path, lines)
		}
		for _, found := range mention.FindAllString(text, -1) {
			if found != modulePath {
				t.Errorf("%s names %s", path, found)
			}
		}
		return nil
	})
	if err != nil || checked < 20 {
		t.Fatal(checked, err)
	}
	if regexp.MustCompile(`(?m)^\s*require`).MatchString(read(t, "go.mod")) {
		t.Error("the module has a dependency")
	}
}
