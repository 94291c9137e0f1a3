#include "sliced.hpp"

#include <algorithm>
#include <memory>

#include "interruption.hpp"
#include "threads.hpp"

namespace nnla {
namespace {

// A run column of so many rows is cheaper than these entries in gathered columns (one contiguous load against
// 16 gathered ones); a gathered column of so many rows is cheaper than single entries.
constexpr int kRunRows = 8;
constexpr int kGatherRows = 5;
constexpr std::size_t kPartSlices = 4096;  // slices that one thread lays out at a time
constexpr int kSampleEvery = 61;           // one slice in so many decides whether runs are looked for at all
constexpr double kRunShare = 0.05;

inline void convert(double value, double* out) { *out = value; }
inline void convert(double value, float* out) { *out = static_cast<float>(value); }
inline void convert(double value, bfloat16* out) {
    const float single = static_cast<float>(value);
    std::uint32_t bits;
    std::memcpy(&bits, &single, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        bits |= 0x00400000u;  // keep a NaN a NaN
    } else {
        bits += 0x7fffu + ((bits >> 16) & 1u);  // round to nearest, ties to even
    }
    out->bits = static_cast<std::uint16_t>(bits >> 16);
}

// Entries of D A D by their place in A's arrays.
class Entries {
  public:
    Entries(const Csr& A, const double* scale) : A_(A), scale_(scale) {}
    double value(std::int64_t row, std::int32_t k) const {
        const double a = A_.data[k];
        return scale_ == nullptr ? a : (scale_[row] * scale_[A_.indices[k]]) * a;
    }

  private:
    Csr A_;
    const double* scale_;
};

// How many rows of a slice share an offset column - row, for offsets of 16 bits (runs further away are left to the
// gathered columns). Direct addressing: two touches of a table per entry, and no sorting.
class OffsetTable {
  public:
    OffsetTable() : cells_(65536, Cell{0, 0, kNone}) {}

    static bool near(std::int64_t offset) { return offset >= -32767 && offset <= 32767; }
    void next_slice() { ++slice_; }
    void count(std::int32_t offset) {
        if (!near(offset)) return;
        Cell& cell = at(offset);
        if (cell.slice != slice_) cell = Cell{slice_, 0, kNone};
        ++cell.rows;
    }
    // The number of the run that the offset belongs to, a new one (`runs`, which grows) where it is the first; or -1.
    std::int32_t run(std::int32_t offset, int fewest, std::int32_t& runs) {
        if (!near(offset)) return -1;
        Cell& cell = at(offset);
        if (cell.rows < fewest) return -1;
        if (cell.run == kNone) cell.run = static_cast<std::uint16_t>(runs++);
        return cell.run;
    }

  private:
    static constexpr std::uint16_t kNone = 0xffff;
    struct Cell {
        std::uint32_t slice;
        std::uint16_t rows, run;  // fewer than 65,535 runs: as many offsets there are, less the diagonal's
    };
    Cell& at(std::int32_t offset) { return cells_[static_cast<std::size_t>(offset + 32767)]; }
    std::vector<Cell> cells_;
    std::uint32_t slice_ = 0;
};

void count_offsets(const Csr& A, std::int64_t row0, int rows, OffsetTable& table) {
    table.next_slice();
    for (int lane = 0; lane < rows; ++lane) {
        const std::int32_t row = static_cast<std::int32_t>(row0 + lane);
        tick(2 * (A.indptr[row + 1] - A.indptr[row]));
        for (std::int32_t k = A.indptr[row]; k < A.indptr[row + 1]; ++k) table.count(A.indices[k] - row);
    }
}

// Entries of a slice that lie in runs, by sorting its offsets: for few slices, for which making the table takes longer.
std::size_t entries_in_runs(const Csr& A, std::int64_t row0, int rows, std::vector<std::int32_t>& offsets) {
    offsets.clear();
    for (int lane = 0; lane < rows; ++lane) {
        const std::int64_t row = row0 + lane;
        for (std::int32_t k = A.indptr[row]; k < A.indptr[row + 1]; ++k)
            if (const std::int64_t offset = A.indices[k] - row; OffsetTable::near(offset))
                offsets.push_back(static_cast<std::int32_t>(offset));
    }
    std::sort(offsets.begin(), offsets.end());
    const auto fewest = static_cast<std::size_t>(std::min(kRunRows, rows));
    std::size_t in_runs = 0;
    for (std::size_t from = 0, to = 0; from < offsets.size(); from = to) {
        while (to < offsets.size() && offsets[to] == offsets[from]) ++to;
        if (to - from >= fewest) in_runs += to - from;
    }
    return in_runs;
}

}  // namespace

double sampled_run_share(const Csr& A, std::int64_t most) {
    std::vector<std::int32_t> offsets;
    std::size_t in_runs = 0, entries = 0;
    const std::int64_t slices = (A.n + kLanes - 1) / kLanes;
    const std::int64_t step = std::max<std::int64_t>(1, slices / std::max<std::int64_t>(most, 1));
    for (std::int64_t s = 0; s < slices; s += step) {
        const std::int64_t row0 = s * kLanes;
        const int rows = static_cast<int>(std::min<std::int64_t>(kLanes, A.n - row0));
        in_runs += entries_in_runs(A, row0, rows, offsets);
        entries += static_cast<std::size_t>(A.indptr[row0 + rows] - A.indptr[row0]);
    }
    return entries == 0 ? 0.0 : static_cast<double>(in_runs) / static_cast<double>(entries);
}

double run_share(const Csr& A) {
    OffsetTable table;
    std::size_t in_runs = 0, entries = 0;
    const std::int64_t slices = (A.n + kLanes - 1) / kLanes;
    const std::int64_t step = slices > 16 * kSampleEvery ? kSampleEvery : 1;
    for (std::int64_t s = 0; s < slices; s += step) {
        const std::int64_t row0 = s * kLanes;
        const int rows = static_cast<int>(std::min<std::int64_t>(kLanes, A.n - row0));
        count_offsets(A, row0, rows, table);
        std::int32_t runs = 0;
        for (int lane = 0; lane < rows; ++lane) {
            const std::int32_t row = static_cast<std::int32_t>(row0 + lane);
            for (std::int32_t k = A.indptr[row]; k < A.indptr[row + 1]; ++k)
                in_runs += table.run(A.indices[k] - row, std::min(kRunRows, rows), runs) >= 0;
        }
        entries += static_cast<std::size_t>(A.indptr[row0 + rows] - A.indptr[row0]);
    }
    return entries == 0 ? 0.0 : static_cast<double>(in_runs) / static_cast<double>(entries);
}

namespace {

// The slices of one part, laid out by one thread.
template <class V> struct Part {
    std::vector<Slice> heads;  // offsets within the part
    std::vector<V> scalars, values, tail_values;
    std::vector<std::int32_t> deltas, wides, tail_columns;
    std::vector<std::int16_t> shorts;
    std::vector<std::uint8_t> tail_lanes;
    std::vector<std::int32_t> lowest, highest;  // columns touched by each slice
};

// The common case on grids: 16 rows of equal length and offsets, so that nothing has to be searched for.
constexpr std::int32_t kLongestUniform = 64;

inline bool is_uniform(const Csr& A, std::int64_t row0) {
    const std::int32_t begin = A.indptr[row0], length = A.indptr[row0 + 1] - begin;
    if (length > kLongestUniform) return false;
    for (int lane = 1; lane < kLanes; ++lane)
        if (A.indptr[row0 + lane + 1] - A.indptr[row0 + lane] != length) return false;
    const std::int32_t* first = A.indices + begin;
    for (int lane = 1; lane < kLanes; ++lane) {
        const std::int32_t* row = first + lane * length;
        std::int32_t differs = 0;
        for (std::int32_t j = 0; j < length; ++j) differs |= row[j] - lane - first[j];
        if (differs != 0) return false;
    }
    return true;
}

template <class V> void lay_out_uniform(const Entries& entries, const Csr& A, std::int64_t row0, Part<V>& out, Slice& head) {
    const std::int32_t begin = A.indptr[row0], length = A.indptr[row0 + 1] - begin;
    double values[kLongestUniform][kLanes];
    bool constant[kLongestUniform];
    for (int lane = 0; lane < kLanes; ++lane)
        for (std::int32_t j = 0; j < length; ++j) values[j][lane] = entries.value(row0 + lane, begin + lane * length + j);
    for (std::int32_t j = 0; j < length; ++j) {
        constant[j] = true;
        for (int lane = 1; lane < kLanes; ++lane) constant[j] = constant[j] && values[j][lane] == values[j][0];
        head.constants += constant[j];
    }
    head.runs = static_cast<std::uint32_t>(length) - head.constants;
    for (const bool wanted : {true, false})
        for (std::int32_t j = 0; j < length; ++j) {
            if (constant[j] != wanted) continue;
            out.deltas.push_back(A.indices[begin + j] - static_cast<std::int32_t>(row0));
            const std::size_t count = wanted ? 1 : kLanes;
            std::vector<V>& target = wanted ? out.scalars : out.values;
            const std::size_t at = target.size();
            target.resize(at + count);
            for (std::size_t lane = 0; lane < count; ++lane) convert(values[j][lane], &target[at + lane]);
        }
}

// table: null where runs are not worth looking for
template <class V>
void lay_out(const Entries& entries, const Csr& A, std::int64_t first, std::int64_t last, OffsetTable* table, Part<V>& out) {
    Ticker ticker;
    std::vector<std::int32_t> store;  // entries of the slice that are not in runs, row by row
    const std::size_t count = static_cast<std::size_t>(A.indptr[std::min(last * kLanes, A.n)] - A.indptr[first * kLanes]);
    out.heads.reserve(static_cast<std::size_t>(last - first));
    if (table == nullptr) {
        out.values.reserve(count + count / 4);
        out.shorts.reserve(count + count / 4);
    }
    for (std::int64_t s = first; s < last; ++s) {
        const std::int64_t row0 = s * kLanes;
        const int rows = static_cast<int>(std::min<std::int64_t>(kLanes, A.n - row0));
        ticker(2 * (A.indptr[row0 + rows] - A.indptr[row0]) + 64);
        Slice head{};
        head.scalar = static_cast<std::uint32_t>(out.scalars.size());
        head.delta = static_cast<std::uint32_t>(out.deltas.size());
        head.value = static_cast<std::uint32_t>(out.values.size() / kLanes);
        head.shorts = static_cast<std::uint32_t>(out.shorts.size() / kLanes);
        head.wide = static_cast<std::uint32_t>(out.wides.size() / kLanes);
        head.tail = static_cast<std::uint32_t>(out.tail_columns.size());
        std::int32_t lowest = static_cast<std::int32_t>(row0), highest = static_cast<std::int32_t>(row0);
        for (int lane = 0; lane < rows; ++lane) {
            const std::int64_t row = row0 + lane;
            if (A.indptr[row] == A.indptr[row + 1]) continue;
            lowest = std::min(lowest, A.indices[A.indptr[row]]);
            highest = std::max(highest, A.indices[A.indptr[row + 1] - 1]);
        }
        out.lowest.push_back(lowest);
        out.highest.push_back(highest);
        if (rows == kLanes && table != nullptr && is_uniform(A, row0)) {
            lay_out_uniform(entries, A, row0, out, head);
            out.heads.push_back(head);
            continue;
        }

        // -- runs
        std::size_t begin[kLanes + 1] = {};
        const bool all_rest = table == nullptr;
        if (all_rest) {
            for (int lane = 0; lane < kLanes; ++lane)
                begin[lane + 1] = lane < rows ? static_cast<std::size_t>(A.indptr[row0 + lane + 1] - A.indptr[row0])
                                              : begin[lane];
        } else {
            count_offsets(A, row0, rows, *table);
            const int fewest = std::min(kRunRows, rows);
            const std::size_t run_values = out.values.size();
            std::int32_t runs = 0;
            store.clear();
            for (int lane = 0; lane < kLanes; ++lane) {
                const std::int32_t row = static_cast<std::int32_t>(row0 + lane);
                for (std::int32_t k = lane < rows ? A.indptr[row] : 0; lane < rows && k < A.indptr[row + 1]; ++k) {
                    const std::int32_t known = runs, offset = A.indices[k] - row;
                    const std::int32_t run = table->run(offset, fewest, runs);
                    if (run < 0) {
                        store.push_back(k);
                        continue;
                    }
                    if (runs > known) {
                        out.deltas.push_back(offset);
                        out.values.resize(out.values.size() + kLanes, V{});
                    }
                    convert(entries.value(row, k),
                            &out.values[run_values + static_cast<std::size_t>(run) * kLanes + static_cast<std::size_t>(lane)]);
                }
                begin[lane + 1] = store.size();
            }
            head.runs = static_cast<std::uint32_t>(runs);
        }
        const std::int32_t slice_begin = A.indptr[row0];
        const auto size = [&](int lane) { return begin[lane + 1] - begin[lane]; };
        const auto entry = [&](int lane, std::size_t j) {
            return all_rest ? slice_begin + static_cast<std::int32_t>(begin[lane] + j) : store[begin[lane] + j];
        };

        // -- gathered columns: as many as enough rows have, those with short offsets first
        std::size_t width = 0;
        for (;; ++width) {
            int having = 0;
            for (int lane = 0; lane < rows; ++lane) having += size(lane) > width;
            if (having < std::min(kGatherRows, rows) || having == 0) break;
        }
        bool all_short = true;
        for (int lane = 0; lane < rows && all_short; ++lane)
            all_short = row0 + lane - lowest <= 32767 && highest - (row0 + lane) <= 32767;
        for (int wide = 0; wide < (all_short ? 1 : 2); ++wide)
            for (std::size_t j = 0; j < width; ++j) {
                std::int32_t offsets[kLanes];
                double values[kLanes];
                bool fits = true;
                for (int lane = 0; lane < kLanes; ++lane) {
                    // padding reads x of its own row; of rows after the last it reads the guard
                    offsets[lane] = 0;
                    values[lane] = 0.0;
                    if (lane >= rows || j >= size(lane)) continue;
                    const std::int32_t k = entry(lane, j);
                    offsets[lane] = A.indices[k] - static_cast<std::int32_t>(row0 + lane);
                    values[lane] = entries.value(row0 + lane, k);
                    fits = fits && offsets[lane] >= -32768 && offsets[lane] <= 32767;
                }
                if (fits == (wide == 1)) continue;
                const std::size_t at = out.values.size();
                out.values.resize(at + kLanes);
                for (std::size_t lane = 0; lane < kLanes; ++lane) convert(values[lane], &out.values[at + lane]);
                if (wide == 1) {
                    out.wides.insert(out.wides.end(), offsets, offsets + kLanes);
                    ++head.wide_count;
                } else {
                    const std::size_t where = out.shorts.size();
                    out.shorts.resize(where + kLanes);
                    for (std::size_t lane = 0; lane < kLanes; ++lane)
                        out.shorts[where + lane] = static_cast<std::int16_t>(offsets[lane]);
                    ++head.short_count;
                }
            }

        // -- what sticks out
        for (int lane = 0; lane < rows; ++lane)
            for (std::size_t j = width; j < size(lane); ++j) {
                const std::int32_t k = entry(lane, j);
                out.tail_values.emplace_back();
                convert(entries.value(row0 + lane, k), &out.tail_values.back());
                out.tail_columns.push_back(A.indices[k]);
                out.tail_lanes.push_back(static_cast<std::uint8_t>(lane));
                ++head.tails;
            }
        out.heads.push_back(head);
    }
}

template <class T> void copy_to(Array<T>& target, std::size_t at, const std::vector<T>& source) {
    if (!source.empty()) std::memcpy(target.data() + at, source.data(), source.size() * sizeof(T));
}

}  // namespace

template <class V> Sliced<V>::Sliced(const Csr& A, const double* scale) : n_(A.n) {
    const std::int64_t slices = (A.n + kLanes - 1) / kLanes;
    const std::size_t count = (static_cast<std::size_t>(slices) + kPartSlices - 1) / kPartSlices;
    const Entries entries(A, scale);
    const bool look = run_share(A) > kRunShare;
    std::vector<Part<V>> parts(count);
    parallel(static_cast<int>(count), [&](int p) {
        const std::int64_t first = p * static_cast<std::int64_t>(kPartSlices);
        std::unique_ptr<OffsetTable> table(look ? new OffsetTable : nullptr);
        lay_out(entries, A, first, std::min<std::int64_t>(slices, first + kPartSlices), table.get(),
                parts[static_cast<std::size_t>(p)]);
    });

    // -- the parts behind one another
    struct Offsets {
        std::size_t scalars = 0, values = 0, tails = 0, deltas = 0, wides = 0, shorts = 0;
    };
    std::vector<Offsets> at(count + 1);
    for (std::size_t p = 0; p < count; ++p) {
        at[p + 1].scalars = at[p].scalars + parts[p].scalars.size();
        at[p + 1].values = at[p].values + parts[p].values.size();
        at[p + 1].tails = at[p].tails + parts[p].tail_columns.size();
        at[p + 1].deltas = at[p].deltas + parts[p].deltas.size();
        at[p + 1].wides = at[p].wides + parts[p].wides.size();
        at[p + 1].shorts = at[p].shorts + parts[p].shorts.size();
    }
    const Offsets& all = at[count];
    scalars_ = Array<V>(all.scalars);
    values_ = Array<V>(all.values);
    tail_values_ = Array<V>(all.tails);
    tail_columns_ = Array<std::int32_t>(all.tails);
    tail_lanes_ = Array<std::uint8_t>(all.tails);
    deltas_ = Array<std::int32_t>(all.deltas);
    wides_ = Array<std::int32_t>(all.wides);
    shorts_ = Array<std::int16_t>(all.shorts);
    heads_.resize(static_cast<std::size_t>(slices));
    reach_.resize(static_cast<std::size_t>(slices));
    parallel(static_cast<int>(count), [&](int index) {
        const std::size_t p = static_cast<std::size_t>(index);
        Part<V>& part = parts[p];
        copy_to(scalars_, at[p].scalars, part.scalars);
        copy_to(values_, at[p].values, part.values);
        copy_to(tail_values_, at[p].tails, part.tail_values);
        copy_to(tail_columns_, at[p].tails, part.tail_columns);
        copy_to(tail_lanes_, at[p].tails, part.tail_lanes);
        copy_to(deltas_, at[p].deltas, part.deltas);
        copy_to(wides_, at[p].wides, part.wides);
        copy_to(shorts_, at[p].shorts, part.shorts);
        for (std::size_t s = 0; s < part.heads.size(); ++s) {
            Slice head = part.heads[s];
            head.scalar += static_cast<std::uint32_t>(at[p].scalars);
            head.delta += static_cast<std::uint32_t>(at[p].deltas);
            head.value += static_cast<std::uint32_t>(at[p].values / kLanes);
            head.shorts += static_cast<std::uint32_t>(at[p].shorts / kLanes);
            head.wide += static_cast<std::uint32_t>(at[p].wides / kLanes);
            head.tail += static_cast<std::uint32_t>(at[p].tails);
            heads_[p * kPartSlices + s] = head;
        }
    });

    // -- reach: what slice s reads, and who reads it (the pattern need not be symmetric where zeros are stored)
    for (std::size_t s = 0; s < heads_.size(); ++s) reach_[s] = static_cast<std::uint32_t>(s);
    for (std::size_t s = 0; s < heads_.size(); ++s) {
        const Part<V>& part = parts[s / kPartSlices];
        const auto high = static_cast<std::uint32_t>(part.highest[s % kPartSlices] / kLanes);
        const auto low = static_cast<std::size_t>(part.lowest[s % kPartSlices] / kLanes);
        reach_[s] = std::max(reach_[s], high);
        reach_[low] = std::max(reach_[low], static_cast<std::uint32_t>(s));
    }
    for (std::size_t s = 1; s < heads_.size(); ++s) reach_[s] = std::max(reach_[s], reach_[s - 1]);
}

template <class V> std::size_t Sliced<V>::bytes() const {
    return heads_.size() * sizeof(Slice) + scalars_.bytes() + values_.bytes() + deltas_.bytes() + shorts_.bytes() +
           wides_.bytes() + tail_values_.bytes() + tail_columns_.bytes() + tail_lanes_.bytes();
}

template <class V> typename Sliced<V>::Census Sliced<V>::census() const {
    Census c{};
    for (const Slice& s : heads_) {
        c.constants += std::size_t{kLanes} * s.constants;
        c.runs += std::size_t{kLanes} * s.runs;
        c.shorts += std::size_t{kLanes} * s.short_count;
        c.wides += std::size_t{kLanes} * s.wide_count;
        c.tail += s.tails;
    }
    return c;
}

template class Sliced<double>;
template class Sliced<float>;
template class Sliced<bfloat16>;

}  // namespace nnla
