// A picture as an input: chosen, dropped or pasted, it is sent at once; the server shows what it made of it.
export default {
  template: `
    <div class="kf-field kf-picture" :class="{ 'kf-wrong': problem || fault }">
      <label :for="control">{{ label }}</label>
      <div class="kf-box" :class="{ over, busy, full: picture }" @dragover.prevent="over = true" @dragleave="over = false"
        @drop.prevent="dropped" @paste="pasted">
        <input type="file" :id="control" :accept="accept" :disabled="busy" @change="chosen"
          :aria-describedby="control + '-hint'" :aria-invalid="!!(problem || fault)" />
        <img v-if="picture" :src="picture" :alt="'The chosen ' + label" />
        <span><b>{{ busy ? "Reading …" : picture ? "Another picture" : "Choose a picture" }}</b> or drop it here</span>
        <button v-if="picture || problem" type="button" class="kf-clear" @click="$emit('empty')" :title="'Clear ' + label"
          :aria-label="'Clear ' + label">×</button>
      </div>
      <p class="kf-hint" :id="control + '-hint'" aria-live="polite">{{ fault || problem || told || hint }}</p>
    </div>`,
  props: {
    url: String, label: String, control: String, hint: String, problem: String, told: String, picture: String,
    accept: String, most: Number,
  },
  emits: ["empty"],
  data: () => ({ over: false, busy: false, fault: "" }),
  methods: {
    chosen(event) {
      this.send(event.target.files[0]);
      event.target.value = "";
    },
    dropped(event) {
      this.over = false;
      this.send(event.dataTransfer.files[0]);
    },
    pasted(event) {
      this.send([...event.clipboardData.files].find((file) => file.type.startsWith("image/")));
    },
    async send(file) {
      if (!file || this.busy) return;
      this.fault = "";
      if (file.size > this.most) {
        this.fault = `${file.name} has ${(file.size / 2 ** 20).toFixed(1)} MB. ${this.hint}.`;
        return;
      }
      this.busy = true;
      const form = new FormData();
      form.append("file", file, file.name);
      try {
        const answer = await fetch(this.url, { method: "POST", body: form });
        if (!answer.ok) this.fault = `The picture was not taken (${answer.status}). Reload the page and try again.`;
      } catch {
        this.fault = "The server cannot be reached. Is it still running?";
      }
      this.busy = false;
    },
  },
};
