module lockside.example/go

go 1.21
