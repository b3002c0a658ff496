// Store: one SQLite file, by its C API. A connection belongs to one thread at a time; everything
// here blocks on the disk, so it is the background thread's (and the start's).
#pragma once

#include "core/error.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

struct sqlite3;
struct sqlite3_stmt;

namespace rooster {

/// A prepared statement: bind its parameters in order, then run() or step() through its rows.
/// Belongs to its Store. A value that can't be bound makes the next run() or step() fail.
class Statement {
 public:
  Statement(sqlite3* connection, sqlite3_stmt* statement);

  Statement& bind(std::int64_t number);
  Statement& bind(std::string_view text);
  Statement& bind(std::span<const std::uint8_t> blob);
  Statement& bind(std::nullopt_t);
  template <class Value>
  Statement& bind(const std::optional<Value>& value) {
    return value ? bind(*value) : bind(std::nullopt);
  }

  /// To its end; then it can be bound anew. Errors: Internal.
  Result<> run();
  /// True: there is a row, whose columns can be read. False: it has ended and can be bound anew.
  Result<bool> step();

  std::int64_t integer(int column) const;
  std::string text(int column) const;
  /// Valid until the next step.
  std::span<const std::uint8_t> blob(int column) const;
  bool is_null(int column) const;

 private:
  friend class Store;
  void check(int code);
  void reset();

  struct Finalize {
    void operator()(sqlite3_stmt* statement) const;
  };
  sqlite3* connection_;
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
  int next_parameter_ = 1;
  int bind_error_ = 0;
};

class Store {
 public:
  /// Opens or makes `file` (0600), in WAL mode. Errors: Internal, with the file and the reason.
  static Result<Store> open(const std::string& file);

  /// Brings the schema from the file's version (0 for a new one) to `steps.size()`, each step in a
  /// transaction of its own. Errors: Internal; also where the file is newer than that.
  Result<> migrate(std::span<const std::string_view> steps);
  /// One or more statements without parameters.
  Result<> run(std::string_view sql);
  /// Prepared once for each text, which must be SQL of ours. Errors: Internal.
  Result<Statement*> prepare(std::string_view sql);

 private:
  struct Close {
    void operator()(sqlite3* connection) const;
  };
  Store(std::unique_ptr<sqlite3, Close> connection, std::string file);

  std::unique_ptr<sqlite3, Close> connection_;
  std::string file_;
  std::map<std::string, Statement, std::less<>> statements_;
};

/// All or nothing: what is not committed is undone at the end of its life.
class Transaction {
 public:
  explicit Transaction(Store& store) : store_(store), begun_(store.run("BEGIN IMMEDIATE")) {}
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  /// Errors: Internal, also where it could not even begin.
  Result<> commit();

 private:
  Store& store_;
  Result<> begun_;
  bool is_over_ = false;
};

}  // namespace rooster
