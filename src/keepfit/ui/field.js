// One input of the model: label, control, what training saw, and what is wrong with the value, in words.
// The value is text, or null for unknown. What is typed here is told to the server and never overwritten by it.
export default {
  template: `
    <div class="kf-field" :class="['kf-' + kind, { 'kf-wrong': problem, 'kf-odd': !problem && warning }]">
      <label :for="control">{{ label }}</label>
      <div class="kf-box">
        <textarea v-if="kind === 'text'" :id="control" v-model="text" rows="5" :placeholder="placeholder"
          :aria-describedby="control + '-hint'" :aria-invalid="!!problem" spellcheck="false"></textarea>
        <select v-else-if="chosen" :id="control" :value="text" @change="pick" :class="{ 'kf-none': !text }"
          :aria-describedby="control + '-hint'" :aria-invalid="!!problem">
          <option value="">{{ none || "unknown" }}</option>
          <option v-for="level in levels" :value="level">{{ level }}</option>
          <option v-if="free" :value="other">something else …</option>
        </select>
        <input v-else :id="control" ref="line" v-model="text" :type="type" :inputmode="kind === 'number' ? 'decimal' : null"
          :step="kind === 'time' ? 1 : null" :list="kind === 'category' ? control + '-levels' : null"
          :placeholder="placeholder" autocomplete="off" :aria-describedby="control + '-hint'" :aria-invalid="!!problem" />
        <button v-if="text || own" type="button" class="kf-clear" @click="clear" :title="'Clear ' + label" :aria-label="'Clear ' + label">×</button>
      </div>
      <datalist v-if="kind === 'category' && !chosen" :id="control + '-levels'">
        <option v-for="level in levels" :value="level"></option>
      </datalist>
      <div v-if="quarters" class="kf-track" aria-hidden="true">
        <i class="kf-middle" :style="{ left: at(quarters[0]) + '%', right: 100 - at(quarters[2]) + '%' }"></i>
        <i class="kf-median" :style="{ left: at(quarters[1]) + '%' }"></i>
        <b v-if="number !== null" :style="{ left: at(number) + '%' }"></b>
      </div>
      <p class="kf-hint" :id="control + '-hint'" aria-live="polite">{{ problem || warning || hint }}</p>
    </div>`,
  props: {
    value: String, label: String, kind: String, control: String, hint: String, problem: String, levels: Array,
    low: Number, high: Number, quarters: Array, span: Array, free: Boolean, few: Boolean, unseen: String, none: String,
  },
  emits: ["update:value"],
  data() {
    return { text: this.value ?? "", own: false, silent: false, other: " other" };
  },
  watch: {
    value(value) {
      if ((value ?? "") === this.text) return;
      this.silent = true;
      this.text = value ?? "";
      this.own = false;
      this.$nextTick(() => (this.silent = false));
    },
    text(text) {
      if (!this.silent) this.$emit("update:value", String(text).trim() === "" ? null : String(text));
    },
  },
  computed: {
    chosen() {
      return this.kind === "category" && this.few && !this.own && (!this.text || this.levels.includes(this.text));
    },
    type() {
      return { date: "date", time: "datetime-local" }[this.kind] ?? "text";
    },
    placeholder() {
      return this.own ? "a value of your own" : this.none || "unknown";
    },
    number() {
      const text = String(this.text).trim();
      return this.kind === "number" && text !== "" && Number.isFinite(Number(text)) ? Number(text) : null;
    },
    warning() {
      if (this.kind === "category" && this.text && this.unseen && !this.levels.includes(this.text)) return this.unseen;
      if (this.kind === "date" || this.kind === "time") {
        const day = String(this.text).slice(0, 10);
        return this.span && day && (day < this.span[0] || day > this.span[1]) ? "Outside the training range, " + this.hint : "";
      }
      if (this.kind !== "number" || !String(this.text).trim()) return "";
      if (this.number === null) return "This is no number. Write it like 1234.5";
      const outside = this.low !== undefined && this.low !== null && (this.number < this.low || this.number > this.high);
      return outside ? "Outside the training range, " + this.hint : "";
    },
  },
  methods: {
    at(value) {
      const wide = this.high - this.low;
      return wide > 0 ? Math.min(100, Math.max(0, (100 * (value - this.low)) / wide)) : 50;
    },
    pick(event) {
      if (event.target.value !== this.other) return (this.text = event.target.value);
      this.own = true;
      this.text = "";
      this.$nextTick(() => this.$refs.line?.focus());
    },
    clear() {
      this.own = false;
      this.text = "";
    },
  },
};
