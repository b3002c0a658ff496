// The main() of a fuzz target where there is no libFuzzer: runs the first files of a folder through
// it once, each whole and cut in half.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <system_error>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

std::vector<std::filesystem::path> seeds_in(const std::filesystem::path& folder,
                                            std::size_t limit) {
  std::vector<std::filesystem::path> files;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  std::ranges::sort(files);
  if (files.size() > limit) files.resize(limit);
  return files;
}

std::vector<std::uint8_t> bytes_of(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

int main(int argc, char** argv) {
  constexpr int kSkipped = 77;  // ctest's SKIP_RETURN_CODE
  if (argc != 3) {
    std::fprintf(stderr, "usage: %s <folder of seeds> <how many>\n", argv[0]);
    return 2;
  }
  const auto files = seeds_in(argv[1], std::strtoul(argv[2], nullptr, 10));
  if (files.empty()) {
    std::printf("skipped: no seeds in %s\n", argv[1]);
    return kSkipped;
  }
  for (const auto& file : files) {
    const std::vector<std::uint8_t> bytes = bytes_of(file);
    // Exact copies, so that a read past the end is one past an allocation.
    for (const std::size_t size : {bytes.size(), bytes.size() / 2}) {
      const std::vector<std::uint8_t> input(bytes.begin(),
                                            bytes.begin() + static_cast<std::ptrdiff_t>(size));
      LLVMFuzzerTestOneInput(input.data(), input.size());
    }
  }
  std::printf("%zu seeds replayed\n", files.size());
  return 0;
}
